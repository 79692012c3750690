package websocket

import (
	"encoding/json"
	"net/http"

	"portico/core"
)

// Close codes of the subprotocol, beside those of RFC 6455 7.4.1.
const (
	closeUnauthenticated = 4401
	closeSlowConsumer    = 4408
)

// shown is what a client may see of an error.
func shown(e *core.Error) (code, detail string) {
	if e.Code == core.CodeInternal {
		return e.Code.String(), "" // nothing internal leaves
	}
	return e.Code.String(), e.Detail
}

// refuse answers a request that does not become a WebSocket, as RFC 9457 has it.
func refuse(w http.ResponseWriter, status int, e *core.Error) {
	code, detail := shown(e)
	body, err := json.Marshal(map[string]any{
		"type": "urn:portico:problem:" + code, "title": http.StatusText(status), "status": status, "code": code, "detail": detail,
	})
	if err != nil {
		body = []byte(`{"type":"about:blank"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="portico", charset="UTF-8"`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
}
