package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// exchange sends raw octets and reads one answer.
func exchange(t *testing.T, address, request string) (*http.Response, string) {
	t.Helper()
	conn := dialRaw(t, address)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }() // the answer may come before the end of the request
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("%.60q: no answer: %v", request, err)
		return &http.Response{}, ""
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp, string(b)
}

func hostileHTTP(t *testing.T, s *site) {
	const post = "POST /v1/publish/a HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		send string
		want int
	}{
		"two content lengths":       {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400},
		"content length below zero": {post + "Content-Length: -1\r\n\r\n", 400},
		"content length of 2^70":    {post + "Content-Length: 1180591620717411303424\r\n\r\n", 400},
		"content length of 2^62":    {post + "Content-Length: 4611686018427387904\r\n\r\n", 413},
		"no content length":         {post + "\r\n", 202},
		"chunk that lies":           {post + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx", 400},
		"chunk of nonsense":         {post + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400},
		"chunk without its end":     {post + "Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n", 400},
		"unknown coding":            {post + "Transfer-Encoding: gzip\r\n\r\n", 501},
		"length and chunks":         {post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 202},
		"header with a bare CR":     {post + "Msg-A: b\rc\r\n\r\n", 400},
		"header with NUL":           {post + "Msg-A: b\x00c\r\n\r\n", 400},
		"header name with a blank":  {post + "Msg A: b\r\n\r\n", 400},
		"header folded":             {post + "Msg-A: b\r\n Msg-B: c\r\nContent-Length: 0\r\n\r\n", 202},
		"header name with CR LF":    {post + "Msg-A%0D%0AX: b\r\nContent-Length: 0\r\n\r\n", 400},
		"header of the bus":         {post + "Nats-Rollup: all\r\nContent-Length: 0\r\n\r\n", 400},
		"header of the bus, hidden": {post + "Msg-Nats-Rollup: all\r\nContent-Length: 0\r\n\r\n", 400},
		"no host":                   {"POST /v1/publish/a HTTP/1.1\r\n\r\n", 400},
		"HTTP/3.0":                  {"GET / HTTP/3.0\r\n\r\n", 505},
		"subject with CR LF":        {"POST /v1/publish/a%0D%0APUB HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"subject with NUL":          {"POST /v1/publish/a%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"subject of the system":     {"POST /v1/publish/$SYS.REQ.SERVER.PING HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 403},
		"JetStream's own API":       {"POST /v1/request/$JS.API.STREAM.LIST HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 403},
		"reply with CR LF":          {"POST /v1/publish/a?reply=x%0D%0Ay HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"percent of nonsense":       {"POST /v1/publish/a%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"path out of the tree":      {"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"path out, hidden":          {"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"path with NUL":             {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"path of slashes":           {"GET //////v1//queues HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"queue with NUL":            {"PUT /v1/queues/a%00b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"queue that is too long":    {"PUT /v1/queues/" + strings.Repeat("q", 256) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		"queue that is no JSON":     {"PUT /v1/queues/q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n[[[[[", 400},
		"token of nonsense":         {"POST /v1/queues/bytes/ack HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"tokens\":[\"AAAA\"]}", 400},
	} {
		t.Run(name, func(t *testing.T) {
			s.call(t, "PUT", "/v1/queues/bytes", `{"durable":false}`)
			resp, body := exchange(t, s.web, c.send)
			if resp.StatusCode != c.want {
				t.Errorf("answered %d %s, want %d", resp.StatusCode, body, c.want)
			}
			if strings.Contains(body, "root:") || strings.Contains(body, "goroutine ") || strings.Contains(body, s.Dir) {
				t.Errorf("told what it must not: %s", body)
			}
		})
	}
	t.Run("100 MB of headers", func(t *testing.T) { hugeHeaders(t, s) })
	t.Run("body without end", func(t *testing.T) { endlessBody(t, s) })
	t.Run("answers are not split", func(t *testing.T) { answersAreNotSplit(t, s) })
	t.Run("slow loris", func(t *testing.T) { slowLoris(t, s) })
}

func hugeHeaders(t *testing.T, s *site) {
	conn := dialRaw(t, s.web)
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
		for range 100_000 {
			if _, err := io.WriteString(conn, line); err != nil {
				return // refused, as it should be
			}
		}
	}()
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %v, %v, want 431", resp, err)
	}
}

// endlessBody sends chunks without end: refused when the limit is reached.
func endlessBody(t *testing.T, s *site) {
	conn := dialRaw(t, s.web)
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, "POST /v1/publish/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := "10000\r\n" + strings.Repeat("a", 1<<16) + "\r\n"
		for range 10_000 {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %v, %v, want 413", resp, err)
	}
}

// answersAreNotSplit: nothing that another door puts into a header ends one in an answer.
func answersAreNotSplit(t *testing.T, s *site) {
	s.call(t, "PUT", "/v1/queues/split", `{"durable":false}`)
	publishAMQP(t, s, "split", map[string]any{"a\r\nSet-Cookie: x": "b", "c": "d\r\nSet-Cookie: y", "\xff": "z", "": "empty"})
	resp, _ := exchange(t, s.web, "POST /v1/queues/split/fetch?raw=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("answered %d with %v", resp.StatusCode, resp.Header)
	}
}

// slowLoris: connections that never come to the end of their headers are closed, and hold nobody up.
func slowLoris(t *testing.T, s *site) {
	const many = 300
	conns := make([]net.Conn, many)
	for i := range conns {
		conns[i] = dialRaw(t, s.web)
		_, _ = io.WriteString(conns[i], "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	}
	s.serves(t)
	var left sync.WaitGroup
	for i, conn := range conns {
		left.Go(func() {
			defer conn.Close()
			if said, ok := ended(conn); !ok {
				t.Errorf("connection %d is open still; it was told %q", i, fmt.Sprint(said))
			}
		})
	}
	left.Wait()
}
