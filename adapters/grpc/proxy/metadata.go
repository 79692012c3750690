package proxy

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"portico/core"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Headers of the proxy on the bus; docs/grpc-proxy.md explains each.
const (
	headerTimeout = "grpc-timeout"
	headerStatus  = "grpc-status"
	headerMessage = "grpc-message"
	headerDetails = "grpc-status-details-bin"
	headerSession = "grpc-session"
	headerFrame   = "grpc-frame"
	headerCredit  = "grpc-credit"

	headerAuthorization = "authorization" // travels only if the proxy is told so

	trailerPrefix = "grpc-trailer-"
	binarySuffix  = "-bin"

	// contentTypes begins the content type of a call whose messages are not protobuf.
	contentTypes = "application/grpc+"
)

// carried tells whether a metadata entry travels. Not: what gRPC and HTTP/2 keep for themselves, the credentials that were for the gateway, and names that are
// commands to the bus.
func carried(name string) bool {
	switch name {
	case "", headerAuthorization, "connection", "content-type", "host", "te", "user-agent", "status", "kv-operation":
		return false
	}
	for _, prefix := range []string{":", "grpc-", "nats-", "nmqtt-", "portico-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// addMetadata writes md into h, every name behind prefix.
func addMetadata(h core.Header, prefix string, md metadata.MD) {
	for name, values := range md {
		if !carried(name) || len(values) == 0 {
			continue
		}
		if strings.HasSuffix(name, binarySuffix) {
			values = encodeAll(values)
		}
		h[prefix+name] = values
	}
}

func encodeAll(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
	}
	return out
}

// readMetadata reads the headers and the trailers out of h. Values that are not what their name says are passed over.
func readMetadata(h core.Header) (header, trailer metadata.MD) {
	header, trailer = metadata.MD{}, metadata.MD{}
	for name, values := range h {
		name = strings.ToLower(name)
		to := header
		if rest, ok := strings.CutPrefix(name, trailerPrefix); ok {
			name, to = rest, trailer
		}
		if !carried(name) || !isKey(name) {
			continue
		}
		for _, v := range values {
			if v, ok := readValue(name, v); ok {
				to[name] = append(to[name], v)
			}
		}
	}
	return header, trailer
}

// isKey tells whether gRPC takes name for metadata.
func isKey(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func readValue(name, v string) (string, bool) {
	if strings.HasSuffix(name, binarySuffix) {
		raw, err := decodeBinary(v)
		return string(raw), err == nil
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return "", false
		}
	}
	return v, true
}

// decodeBinary takes base64 with and without padding, as gRPC does.
func decodeBinary(v string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
}

// addStatus writes a status into h.
func addStatus(h core.Header, s *status.Status) {
	h[headerStatus] = []string{strconv.Itoa(int(s.Code()))}
	if s.Message() != "" {
		h[headerMessage] = []string{escape(s.Message())}
	}
	if p := s.Proto(); len(p.GetDetails()) > 0 {
		if raw, err := proto.Marshal(p); err == nil {
			h[headerDetails] = []string{base64.RawStdEncoding.EncodeToString(raw)}
		}
	}
}

// readStatus reads a status out of h. An answer without one comes from somebody who only answers: OK.
func readStatus(h core.Header) *status.Status {
	text := h.Get(headerStatus)
	if text == "" {
		return status.New(codes.OK, "")
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return status.New(codes.Unknown, "the server's status is not a number")
	}
	if raw, err := decodeBinary(h.Get(headerDetails)); err == nil && len(raw) > 0 {
		var p spb.Status
		if proto.Unmarshal(raw, &p) == nil && uint64(uint32(p.GetCode())) == code {
			return status.FromProto(&p)
		}
	}
	return status.New(codes.Code(code), unescape(h.Get(headerMessage)))
}

// escape is gRPC's percent-encoding of a status message: printable ASCII but % stays.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// unescape is the way back. What is no escape stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// endless is the longest timeout that gRPC can write. It stands for no deadline at all.
const endless = "99999999H"

var timeoutUnits = []struct {
	letter byte
	length time.Duration
}{{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond}, {'S', time.Second}, {'M', time.Minute}, {'H', time.Hour}}

const maxTimeout = 1e8 // of a unit: eight digits

// writeTimeout is d in the finest unit from microseconds on that holds it, rounded up.
func writeTimeout(d time.Duration) string {
	for _, u := range timeoutUnits[1:] {
		if n := (d + u.length - 1) / u.length; n < maxTimeout {
			return strconv.FormatInt(int64(max(n, 0)), 10) + string(u.letter)
		}
	}
	return endless
}

// readTimeout reads a timeout. none: it says that there is no deadline. Anything malformed is CodeInvalid.
func readTimeout(text string) (d time.Duration, none bool, err error) {
	if text == endless {
		return 0, true, nil
	}
	for _, u := range timeoutUnits {
		digits, ok := strings.CutSuffix(text, string(u.letter))
		if !ok {
			continue
		}
		n, bad := strconv.ParseUint(digits, 10, 63)
		if bad != nil || n >= maxTimeout {
			break
		}
		if n > uint64(maxDuration/u.length) {
			return 0, true, nil
		}
		return time.Duration(n) * u.length, false, nil
	}
	return 0, false, core.Errorf(core.CodeInvalid, "%s %q: want up to 8 digits and one of n, u, m, S, M, H", headerTimeout, text)
}

const maxDuration = time.Duration(1<<63 - 1)
