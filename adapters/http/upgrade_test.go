package httpapi

import (
	"net/http/httptest"
	"testing"
)

func TestForWebSocket(t *testing.T) {
	for name, c := range map[string]struct {
		path, upgrade string
		want          bool
	}{
		"its own path":            {"/ws", "", true},
		"the page":                {"/", "", false},
		"NATS at the root":        {"/", "websocket", true},
		"in capitals":             {"/mqtt", "WebSocket", true},
		"another upgrade":         {"/", "h2c", false},
		"STOMP":                   {"/stomp", "websocket", true},
		"a path that is not ours": {"/v1/publish/a", "websocket", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", c.path, nil)
			if c.upgrade != "" {
				r.Header.Set("Upgrade", c.upgrade)
			}
			if got := forWebSocket(r); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
