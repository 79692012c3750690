package http

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFanout publishes over one connection to many event streams and counts what they get. The publisher is never more than a window ahead of the slowest: a subscription is no queue.
func TestFanout(t *testing.T) {
	length, rounds, full := load(t)
	subscribers := 50
	if full {
		subscribers = 1000
	}
	_, address := startGateway(t)
	var rates []float64
	for range rounds {
		rates = append(rates, fanout(t, address, subscribers, length))
	}
	rate := median(rates)
	rows = append(rows, fmt.Sprintf("| one publisher to %d event streams, delivered | | %.0f/s | | 200000/s |", subscribers, rate))
	t.Logf("%d event streams: %.0f messages/s delivered", subscribers, rate)
	if full && rate < 200_000 {
		t.Errorf("%.0f messages/s delivered, want 200,000", rate)
	}
}

const (
	window = 512 // messages that may be under way
	batch  = 64  // messages of one request
)

// fanout returns how many messages a second reached subscribers; each has to get every message.
func fanout(t *testing.T, address string, subscribers int, length time.Duration) float64 {
	t.Helper()
	seen := make([]atomic.Int64, subscribers)
	var readers sync.WaitGroup
	var conns []net.Conn
	for i := range subscribers {
		conn, r := openStream(t, address, "fan.out")
		conns = append(conns, conn)
		readers.Go(func() { count(r, &seen[i]) })
	}
	start := time.Now()
	sent := publishAhead(t, address, seen, start.Add(length))
	for deadline := time.Now().Add(20 * time.Second); slowest(seen) < sent; {
		if time.Now().After(deadline) {
			t.Fatalf("the slowest got %d of %d messages", slowest(seen), sent)
		}
		<-time.After(time.Millisecond)
	}
	took := time.Since(start)
	for _, conn := range conns {
		conn.Close()
	}
	readers.Wait()
	return float64(sent) * float64(subscribers) / took.Seconds()
}

// count counts events until the stream ends.
func count(r *bufio.Reader, seen *atomic.Int64) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if bytes.HasPrefix(line, []byte("data: ")) {
			seen.Add(1)
		}
	}
}

func slowest(seen []atomic.Int64) int64 {
	least := seen[0].Load()
	for i := range seen {
		least = min(least, seen[i].Load())
	}
	return least
}

// publishAhead publishes until then and returns how many.
func publishAhead(t *testing.T, address string, seen []atomic.Int64, until time.Time) (sent int64) {
	t.Helper()
	line := fmt.Sprintf(`{"subject":"fan.out","data":%q}`, strings.Repeat("x", payload)) + "\n"
	body := strings.Repeat(line, batch)
	for time.Now().Before(until) {
		if sent-slowest(seen) > window-batch {
			<-time.After(200 * time.Microsecond) // the window opens as messages arrive
			continue
		}
		res, err := http.Post("http://"+address+"/v1/publish", "application/x-ndjson", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("publish: %s", res.Status)
		}
		sent += batch
	}
	return sent
}

// TestIdleStreams counts the memory of event streams on which nothing happens.
func TestIdleStreams(t *testing.T) {
	_, _, full := load(t)
	streams := 200
	if full {
		streams = 5000
	}
	g, address := startGateway(t)
	warm := make([]net.Conn, 50)
	for i := range warm {
		warm[i], _ = openStream(t, address, "idle.>")
	}
	for _, c := range warm {
		c.Close()
	}
	before := resident(t, g.Pid())
	for range streams {
		conn, _ := openStream(t, address, "idle.>")
		defer conn.Close()
	}
	perStream := func() float64 { return float64(resident(t, g.Pid())-before) / float64(streams) / 1024 }
	opened := perStream()
	if full {
		<-time.After(150 * time.Second) // the Go runtime collects an idle program's garbage every two minutes
	}
	each := perStream()
	rows = append(rows, fmt.Sprintf("| resident by idle event stream, of %d; as soon as they are open %.1f | | %.1f KiB | | 30 KiB |", streams, opened, each))
	t.Logf("%d idle event streams: %.1f KiB each, %.1f as soon as they are open", streams, each, opened)
	if limit := 30.0; full && each > limit || each > 4*limit {
		t.Errorf("an idle event stream takes %.1f KiB, want at most %.0f", each, limit)
	}
}
