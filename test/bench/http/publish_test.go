package http

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	connections = 128
	payload     = 128 // bytes
)

// TestPublish compares publishing with a bare handler: to a subject that one subscriber listens to, and into a durable queue, which is on disk when the answer comes.
func TestPublish(t *testing.T) {
	length, rounds, full := load(t)
	plain := startBare(t)
	_, address := startGateway(t)
	declare(t, address, "/v1/queues/bench")
	declare(t, address, "/v1/queues/bench/bindings/durable.it")
	defer listen(t, address, "live.it")()

	rates := map[string][]float64{}
	for range rounds {
		rates["bare"] = append(rates["bare"], posts(t, plain, "/publish/x", http.StatusOK, length))
		rates["live"] = append(rates["live"], posts(t, address, "/v1/publish/live.it", http.StatusAccepted, length))
		rates["durable"] = append(rates["durable"], posts(t, address, "/v1/publish/durable.it", http.StatusOK, length))
	}
	for _, x := range []struct {
		what, key string
		want      float64
	}{{"publish to a subject", "live", 0.5}, {"publish into a durable queue", "durable", 0.3}} {
		base, got := median(rates["bare"]), median(rates[x.key])
		rows = append(rows, fmt.Sprintf("| %s | %.0f/s | %.0f/s | %.2f | %.2f |", x.what, base, got, got/base, x.want))
		t.Logf("%s: %.0f/s, bare %.0f/s: %.2f", x.what, got, base, got/base)
		if full && got/base < x.want {
			t.Errorf("%s is %.2f of the bare handler, want %.2f", x.what, got/base, x.want)
		}
	}
}

// declare makes something by PUT.
func declare(t *testing.T, address, path string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPut, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		t.Fatalf("PUT %s: %s", path, res.Status)
	}
}

// listen subscribes to a subject and reads until the returned function is called.
func listen(t *testing.T, address, subject string) (stop func()) {
	t.Helper()
	conn, r := openStream(t, address, subject)
	var over sync.WaitGroup
	over.Go(func() { _, _ = io.Copy(io.Discard, r) })
	return func() {
		conn.Close()
		over.Wait()
	}
}

// openStream begins an event stream and reads its header.
func openStream(t testing.TB, address, subject string) (net.Conn, *bufio.Reader) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/subscribe?subject=%s HTTP/1.1\r\nHost: %s\r\n\r\n", subject, address)
	r := bufio.NewReaderSize(conn, 16<<10)
	for status := ""; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		if status == "" {
			if status = line; !strings.Contains(line, " 200 ") {
				t.Fatalf("subscribe: %s", line)
			}
		}
		if line == "\r\n" {
			return conn, r
		}
	}
}

// posts makes as many requests as it can for a while and returns how many a second were answered with status.
func posts(t *testing.T, address, path string, status int, length time.Duration) float64 {
	t.Helper()
	var all sync.WaitGroup
	var done atomic.Int64
	failures := make(chan error, connections)
	start := time.Now()
	for range connections {
		all.Go(func() {
			if err := poster(address, path, status, start.Add(length), &done); err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	if len(failures) > 0 {
		t.Fatal(<-failures)
	}
	return float64(done.Load()) / time.Since(start).Seconds()
}

// poster is one connection: a request, its answer, the next one. It does as little as a client can, to leave the machine to the server.
func poster(address, path string, status int, until time.Time, done *atomic.Int64) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := []byte(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", path, address, payload, strings.Repeat("x", payload)))
	r := bufio.NewReader(conn)
	for n := int64(0); ; n++ {
		if time.Now().After(until) {
			done.Add(n)
			return nil
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := readAnswer(r, status); err != nil {
			return err
		}
	}
}

// readAnswer reads an answer with a length, or without a body.
func readAnswer(r *bufio.Reader, status int) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if fields := bytes.Fields(line); len(fields) < 2 || string(fields[1]) != strconv.Itoa(status) {
		return fmt.Errorf("answered %q, want %d", line, status)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err = r.Discard(length)
	return err
}
