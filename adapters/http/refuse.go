package httpapi

import (
	"fmt"
	"io"
	"net"

	"portico/core/certs"
	gate "portico/core/limits"
)

// tooMany answers a connection that is one too many, before its request is read; nil where TLS comes first: then it is closed without a word.
func tooMany(d certs.Door) gate.Refuse {
	if d.Mode == certs.Required {
		return nil
	}
	return func(c net.Conn, reason error) {
		body := fmt.Sprintf(`{"type":"urn:portico:problem:resource-exhausted","title":"Too many requests","status":429,"detail":%q,"code":"resource-exhausted"}`, reason.Error())
		_, _ = io.WriteString(c, fmt.Sprintf("HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body)) // it may have gone
	}
}
