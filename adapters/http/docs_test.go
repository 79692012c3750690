package httpapi_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"portico/core"

	httpapi "portico/adapters/http"
)

// TestDocumentedExamples plays the curl lines of docs/http.md in their order: each must succeed.
func TestDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, httpapi.Config{})
	bus := d.gateway.System()
	s, err := bus.Subscribe("math.double", "", func(m *core.Message) {
		bus.PublishAsync(&core.Message{Subject: m.Reply, Data: []byte("42")}, func(core.Receipt, error) {})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	played, token := map[string]bool{}, ""
	for _, line := range curls(string(doc)) {
		x := parseCurl(t, strings.ReplaceAll(line, "$TOKEN", token))
		if x.stream {
			d.feed(x.path).cancel()
		} else {
			a := d.do(x.method, x.path, x.body, x.options...)
			if a.status >= 300 {
				t.Errorf("%s: %d %s", line, a.status, a.body)
			}
			token = tokenOf(a, token)
		}
		played[x.verb()] = true
	}
	for _, verb := range []string{
		"publish", "request", "subscribe", "queues", "messages", "fetch", "ack", "nack", "extend", "bindings", "healthz", "readyz", "metrics",
	} {
		if !played[verb] {
			t.Errorf("no example for %s", verb)
		}
	}
}

// tokenOf returns the first token of a fetch's answer, else the one before.
func tokenOf(a answer, before string) string {
	if token := a.header.Get("Portico-Token"); token != "" {
		return token
	}
	var fetched struct{ Messages []message }
	if json.Unmarshal(a.body, &fetched) == nil && len(fetched.Messages) > 0 {
		return fetched.Messages[0].Token
	}
	return before
}

func curls(doc string) (lines []string) {
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	return lines
}

type curl struct {
	method, path, body string
	stream             bool
	options            []option
}

func (x curl) verb() string {
	path, _, _ := strings.Cut(x.path, "?")
	parts := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "/v1"), "/"), "/")
	if parts[0] == "queues" && len(parts) > 2 {
		return parts[2]
	}
	return parts[0]
}

// parseCurl understands as much of curl as the document uses.
func parseCurl(t *testing.T, line string) (x curl) {
	t.Helper()
	var words []string
	for _, w := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(w, "'"))
	}
	x.method = "GET"
	for i := 1; i < len(words); i++ {
		switch w := words[i]; w {
		case "-N":
			x.stream = true
		case "-X", "-d", "-H", "-u":
			i++
			x.flag(w, words[i])
		default:
			path, ok := strings.CutPrefix(w, "http://127.0.0.1:8080")
			if !ok {
				t.Fatalf("%s: what is %s?", line, w)
			}
			x.path = path
		}
	}
	return x
}

func (x *curl) flag(name, value string) {
	switch name {
	case "-X":
		x.method = value
	case "-d":
		x.body = value
		if x.method == "GET" {
			x.method = "POST"
		}
	case "-H":
		header, v, _ := strings.Cut(value, ": ")
		x.options = append(x.options, with(header, v))
	case "-u":
		user, password, _ := strings.Cut(value, ":")
		x.options = append(x.options, as(user, password))
	}
}
