package websocket_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"portico/adapters/websocket"
	"portico/core"
)

// TestDocumentedConversation plays the client frames of docs/websocket.md, in their order, on one connection: each must be
// accepted, and each server frame shown must have fields that a real frame of that op had.
func TestDocumentedConversation(t *testing.T) {
	doc, err := os.ReadFile("../../docs/websocket.md")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, websocket.Config{})
	if _, _, err := d.gateway.System().CreateStream(t.Context(), core.StreamConfig{Name: "PRICES", Subjects: []string{"prices.>"}}); err != nil {
		t.Fatal(err)
	}
	d.bucket("settings", 5)
	c := d.dial()
	seen := map[string]frame{"welcome": nil}
	var shown []frame
	c.do(frame{"op": "declare", "queue": "jobs.dead"})
	for _, line := range jsonLines(string(doc)) {
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if serverOps[f.str("op")] {
			shown = append(shown, f)
			continue
		}
		c.play(f, line)
	}
	for _, f := range c.back {
		merge(seen, f)
	}
	for _, f := range c.answers() {
		merge(seen, f)
	}
	for _, f := range shown {
		known := knownFields[f.str("op")]
		for field := range f {
			if !strings.Contains(known, " "+field+" ") {
				t.Errorf("%s is shown with %q", f.str("op"), field)
			}
		}
	}
	for _, op := range []string{"ok", "res", "msg", "delivery", "pong", "entry", "ready"} {
		if seen[op] == nil {
			t.Errorf("the conversation led to no %s", op)
		}
		for field := range seen[op] {
			if !strings.Contains(knownFields[op], " "+field+" ") {
				t.Errorf("%s came with %q, which is not documented", op, field)
			}
		}
	}
}

var serverOps = map[string]bool{
	"welcome": true, "ok": true, "err": true, "msg": true, "res": true, "delivery": true, "gone": true, "pong": true,
	"gap": true, "place": true, "entry": true, "ready": true, "join": true, "leave": true,
}

// knownFields are the fields that the document explains for each frame of the server.
var knownFields = map[string]string{
	"welcome":  " op protocol client authenticated user expires ping_interval limits ",
	"ok":       " op id queues live created ready duplicate stream seq user expires epoch after recovered reset gap count next more key revision time data data_base64 keys members ",
	"err":      " op id code detail revision ",
	"msg":      " op sid id stream seq time subject reply headers data data_base64 ",
	"res":      " op id headers data data_base64 ",
	"delivery": " op sid tag attempt redelivered subject reply headers data data_base64 ",
	"gone":     " op sid code detail ",
	"pong":     " op id ",
	"gap":      " op sid from to ",
	"place":    " op sid seq ",
	"entry":    " op id sid bucket key revision time operation data data_base64 ",
	"ready":    " op sid ",
	"join":     " op sid subject member ",
	"leave":    " op sid subject member ",
}

func merge(seen map[string]frame, f frame) {
	if seen[f.str("op")] == nil {
		seen[f.str("op")] = frame{}
	}
	for k, v := range f {
		seen[f.str("op")][k] = v
	}
}

// jsonLines returns the lines of the document's json blocks.
func jsonLines(doc string) (lines []string) {
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			lines = append(lines, line)
		}
	}
	return lines
}

// play sends one documented frame and waits until it has had its effect.
func (c *client) play(f frame, line string) {
	c.t.Helper()
	switch f.str("op") {
	case "req": // its answer comes when the next frame, the reply, has been sent
		c.send(line)
		return
	case "reply": // the document's inbox is not the real one
		request := c.await("a request", func(f frame) bool { return f.str("op") == "msg" && f.str("sid") == "v1" })
		c.send(strings.Replace(line, f.str("reply"), request.str("reply"), 1))
		c.back = append(c.back, request, c.answer("6"))
	case "ack", "extend", "nack":
		c.delivered(f)
		c.send(line)
	default:
		c.send(line)
	}
	if id := f.str("id"); id != "" {
		a := c.answer(id)
		if op := a.str("op"); op != "ok" && op != "pong" {
			c.t.Errorf("%s is answered %v", line, a)
		}
		c.back = append(c.back, a)
	}
}

// delivered waits for the deliveries that a settlement names.
func (c *client) delivered(f frame) {
	c.t.Helper()
	tags := []any{f["tag"]}
	if list, ok := f["tags"].([]any); ok {
		tags = list
	}
	for _, tag := range tags {
		d := c.await("a delivery", func(d frame) bool { return d.str("op") == "delivery" && d["tag"] == tag })
		c.back = append(c.back, d)
	}
}

// answers reads what is still on its way.
func (c *client) answers() []frame {
	c.t.Helper()
	c.do(frame{"op": "ping"})
	return c.back
}

// TestDocumentedLimits: the numbers of the document are those that the gateway tells.
func TestDocumentedLimits(t *testing.T) {
	doc, err := os.ReadFile("../../docs/websocket.md")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, websocket.Config{})
	c, _, err := d.tryDial(nil)
	if err != nil {
		t.Fatal(err)
	}
	real := c.next("welcome")
	for _, line := range jsonLines(string(doc)) {
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.str("op") != "welcome" {
			continue
		}
		for name, value := range real["limits"].(map[string]any) {
			if shown := f["limits"].(map[string]any)[name]; shown != value {
				t.Errorf("limit %s is %s, shown %v", name, strconv.FormatFloat(value.(float64), 'f', -1, 64), shown)
			}
		}
		if f["ping_interval"] != real["ping_interval"] {
			t.Errorf("ping interval %v, shown %v", real["ping_interval"], f["ping_interval"])
		}
		return
	}
	t.Error("the document shows no welcome")
}
