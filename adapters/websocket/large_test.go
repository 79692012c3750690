package websocket

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/core/coretest"

	"github.com/gorilla/websocket"
)

// TestLargeFrames: what a large frame takes from the memory that all connections share is given back, and when that is used
// up the connection is asked to come again.
func TestLargeFrames(t *testing.T) {
	a, err := New(Config{}, coretest.Start(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	defer server.Close()
	defer a.active.Wait()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{smallFrame - 100, smallFrame, smallFrame + 1, 2 * smallFrame, 4 * smallFrame, 5 << 20} {
		sub := fmt.Sprintf(`{"op":"sub","sid":"s%d","subject":"large.%d"}`, size, size)
		pub := fmt.Sprintf(`{"op":"pub","subject":"large.%d","data":"`, size)
		data := strings.Repeat("x", size-len(pub)-2)
		for _, frame := range []string{sub, pub + data + `"}`} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
				t.Fatal(err)
			}
		}
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), `"op":"msg"`) {
				if len(b) < len(data) {
					t.Errorf("%d of %d bytes came back", len(b), len(data))
				}
				break
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.frames.Acquire(ctx, frameMemory); err != nil {
		t.Fatalf("memory was not given back: %v", err)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat(" ", smallFrame+1))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("ended with %v", err)
	}
}
