package httpapi

import (
	"net/http"
	"strings"
)

// forWebSocket tells whether a request is for the WebSocket door: whatever comes to /ws, and upgrades where clients of other protocols ask for them.
func forWebSocket(r *http.Request) bool {
	switch r.URL.Path {
	case "/ws":
		return true
	case "/", "/nats", "/mqtt", "/amqp", "/stomp", "/ws/nats", "/ws/mqtt", "/ws/amqp", "/ws/stomp":
		return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	}
	return false
}
