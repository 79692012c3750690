package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// scripted is a server that speaks just enough of the protocol to do, by path, what a good gateway does not.
type scripted struct {
	mu   sync.Mutex
	seen []string // payloads of publishes, or the token of the last login
	lost bool     // whether /lossy has broken its first connection
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/nowhere" {
		http.Error(w, "nobody is here", http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"portico.v1.json"}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	login := r.URL.Path == "/login"
	if c.WriteJSON(words{"op": "welcome", "authenticated": !login, "user": "", "ping_interval": "25s", "limits": words{"frame": 1000, "batch": 16}}) != nil {
		return
	}
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		if b[0] != '[' {
			b = []byte("[" + string(b) + "]")
		}
		var frames []words
		if json.Unmarshal(b, &frames) != nil {
			return
		}
		for _, f := range frames {
			if answers, goOn := s.answer(r.URL.Path, f); !goOn || !write(c, answers) {
				return
			}
		}
	}
}

type words map[string]any

func write(c *websocket.Conn, answers []words) bool {
	for _, a := range answers {
		if c.WriteJSON(a) != nil {
			return false
		}
	}
	return true
}

// answer is what the server says to a frame; false: it breaks the connection instead.
func (s *scripted) answer(path string, f words) ([]words, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := words{"op": "ok", "id": f["id"]}
	switch f["op"] {
	case "pub":
		return s.publish(path, f, ok)
	case "req":
		return []words{{"op": "res", "id": f["id"], "data": strings.Join(s.seen, " ")}}, true
	case "ping":
		return []words{{"op": "pong", "id": f["id"]}}, true
	case "auth":
		return s.login(f, ok), true
	case "sub":
		answers := []words{ok}
		if path == "/fickle" {
			return append(answers, fickle(f)...), true
		}
		for n := 1; path == "/flood" && n <= 10; n++ {
			answers = append(answers, words{"op": "msg", "sid": f["sid"], "subject": "a", "data": strconv.Itoa(n)})
		}
		if path == "/flood" && f["slow"] != "close" && f["buffer"] == 2.0 {
			answers = append(answers, words{"op": "dropped", "sid": f["sid"], "count": 100})
		}
		return answers, true
	}
	return []words{ok}, true
}

// fickle ends a subscription: for a moment with its first message still on the way, or for good.
func fickle(f words) []words {
	switch {
	case f["subject"] == "never":
		return []words{{"op": "gone", "sid": f["sid"], "code": "not-found", "detail": "it was deleted"}}
	case f["after"] == nil:
		return []words{{"op": "place", "sid": f["sid"], "seq": 7}, {"op": "gone", "sid": f["sid"], "code": "unavailable", "detail": "the store does not answer"}}
	}
	return []words{{"op": "msg", "sid": f["sid"], "subject": "a", "seq": 8, "data": fmt.Sprintf("behind %v", f["after"])}}
}

func (s *scripted) publish(path string, f, ok words) ([]words, bool) {
	s.seen = append(s.seen, f["data"].(string))
	switch {
	case path == "/deaf":
		return nil, true
	case path == "/lossy" && !s.lost:
		s.lost = len(s.seen) == 3
		return nil, !s.lost
	}
	return []words{ok}, true
}

// login takes every token but the first and those that are old, each for a second and a half.
func (s *scripted) login(f, ok words) []words {
	token, _ := f["token"].(string)
	if token == "" || token == "token 0" || token == "token 1" {
		return []words{{"op": "err", "id": f["id"], "code": "unauthenticated", "detail": "who is that?"}}
	}
	s.seen = []string{token}
	ok["user"], ok["expires"] = "ann", time.Now().Add(1500*time.Millisecond).UTC().Format(time.RFC3339Nano)
	return []words{ok}
}

// TestLibraryWhenThingsGoWrong: what is under way when a connection breaks, what waits for one, what is aborted, too slow, too large or not let in.
func TestLibraryWhenThingsGoWrong(t *testing.T) {
	for place, run := range runners(t) {
		t.Run(place, func(t *testing.T) {
			server := httptest.NewServer(&scripted{})
			defer server.Close()
			address, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			address.Scheme = "ws"
			var got []string
			run(t, "testdata/rules.mjs", address, func(line string) { got = append(got, line) })
			same(t, "testdata/rules.mjs", got)
		})
	}
}
