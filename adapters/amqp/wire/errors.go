package wire

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxReplyText is the longest reply text in octets: it travels as a short string.
const maxReplyText = 255

// ConnError ends the connection: the answer is connection.close with Code
// [0-9-1 1.4.2.10]. Text is what went wrong, for the peer to read; ClassID and
// MethodID name the method that caused it, both zero when none did.
type ConnError struct {
	Code     uint16
	Text     string
	ClassID  uint16
	MethodID uint16
}

// ChanError ends one channel: the answer is channel.close with Code
// [0-9-1 1.5.2.5]. The fields are those of [ConnError].
type ChanError struct {
	Code     uint16
	Text     string
	ClassID  uint16
	MethodID uint16
}

// ConnErrorf makes a ConnError whose Text is formatted as by fmt.Sprintf.
func ConnErrorf(code uint16, format string, args ...any) *ConnError {
	return &ConnError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// ChanErrorf makes a ChanError whose Text is formatted as by fmt.Sprintf.
func ChanErrorf(code uint16, format string, args ...any) *ChanError {
	return &ChanError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// At returns a copy of e that names id as the method which caused it.
func (e *ConnError) At(id MethodID) *ConnError {
	return &ConnError{Code: e.Code, Text: e.Text, ClassID: id.Class(), MethodID: id.Method()}
}

// At returns a copy of e that names id as the method which caused it.
func (e *ChanError) At(id MethodID) *ChanError {
	return &ChanError{Code: e.Code, Text: e.Text, ClassID: id.Class(), MethodID: id.Method()}
}

// Error is "NAME - text", of any length.
func (e *ConnError) Error() string { return errorText(e.Code, e.Text) }

// Error is "NAME - text", of any length.
func (e *ChanError) Error() string { return errorText(e.Code, e.Text) }

// ReplyText is Error cut to the 255 octets of a reply text, with "..." at the
// end where something was cut, never inside a UTF-8 sequence.
func (e *ConnError) ReplyText() string { return cutText(e.Error(), maxReplyText) }

// ReplyText is Error cut as [ConnError.ReplyText] does.
func (e *ChanError) ReplyText() string { return cutText(e.Error(), maxReplyText) }

func errorText(code uint16, text string) string {
	name := ReplyName(code)
	if name == "" {
		name = "CODE_" + strconv.Itoa(int(code))
	}
	return name + " - " + text
}

// cutText returns s in at most limit octets (limit > 3).
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit - len("...")
	for back := 0; back < utf8.UTFMax-1 && !utf8.RuneStart(s[cut]); back++ {
		cut--
	}
	return s[:cut] + "..."
}
