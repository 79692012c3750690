package stomp

import (
	"strconv"
	"strings"
)

// AppendFrame appends f as version v writes it. A body gets a content-length; the fields must not have one.
func AppendFrame(dst []byte, v Version, f *Frame) []byte {
	dst = append(append(dst, f.Command...), '\n')
	literally := v == V10 || f.Command == "CONNECTED" || f.Command == "CONNECT"
	for i := range f.Fields {
		dst = appendField(dst, v, literally, f.Fields[i])
	}
	if len(f.Body) > 0 || f.Command == "MESSAGE" {
		dst = append(strconv.AppendInt(append(dst, "content-length:"...), int64(len(f.Body)), 10), '\n')
	}
	dst = append(append(dst, '\n'), f.Body...)
	return append(dst, 0)
}

func appendField(dst []byte, v Version, literally bool, x Field) []byte {
	if literally {
		dst = append(append(dst, oneLine(x.Name)...), ':')
		return append(append(dst, oneLine(x.Value)...), '\n')
	}
	dst = append(appendEscaped(dst, v, x.Name), ':')
	return append(appendEscaped(dst, v, x.Value), '\n')
}

// oneLine makes text fit where nothing can be escaped.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s)
}

func appendEscaped(dst []byte, v Version, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == ':':
			dst = append(dst, `\c`...)
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '\r' && v == V12:
			dst = append(dst, `\r`...)
		case c == '\r', c == 0:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
