package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	httpapi "portico/adapters/http"
)

// TestCallsMayTakeTheirTime: the deadline of writing is for what is written, and not for the service, which may think for longer, nor for a client that sends for longer.
func TestCallsMayTakeTheirTime(t *testing.T) {
	const deadline = time.Second
	thinking := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(deadline + deadline/2)
		_, _ = io.WriteString(w, "answer")
	}
	for name, second := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, httpapi.Config{WriteTimeout: deadline, RPC: http.HandlerFunc(thinking)})
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!second)
			transport.Protocols.SetUnencryptedHTTP2(second)
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Post(d.url+"/portico.v1.PorticoService/Request", "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "answer" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}
