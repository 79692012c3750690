package grpcapi

import (
	"strings"
	"unicode/utf8"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// fromProto makes a core.Message of m. The payload is shared with m, which the caller must not use any more.
// CodeInvalid when there is no message; everything else is core's to check.
func fromProto(m *porticov1.Message) (*core.Message, error) {
	if m == nil {
		return nil, absent("message")
	}
	header, err := fromHeaders("message.headers", m.GetHeaders())
	if err != nil {
		return nil, err
	}
	return &core.Message{Subject: m.GetSubject(), Reply: m.GetReply(), Header: header, Data: m.GetData()}, nil
}

// toProto makes a proto message of m, which is shared and not changed.
func toProto(m *core.Message) *porticov1.Message {
	return &porticov1.Message{
		Subject: text(m.Subject),
		Reply:   text(m.Reply),
		Headers: toHeaders(m.Header),
		Data:    m.Data,
	}
}

// texts returns values themselves when all are UTF-8, else a copy that is.
func texts(values []string) []string {
	for i, value := range values {
		if utf8.ValidString(value) {
			continue
		}
		valid := append([]string(nil), values...)
		for j := i; j < len(valid); j++ {
			valid[j] = text(valid[j])
		}
		return valid
	}
	return values
}

// text is s with U+FFFD for whatever is not UTF-8: a proto string cannot carry that.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// weigh is about how many bytes m takes while it waits.
func weigh(m *core.Message) int {
	const overhead = 64
	weight := overhead + len(m.Subject) + len(m.Reply) + len(m.Data)
	for name, values := range m.Header {
		weight += overhead + len(name)
		for _, value := range values {
			weight += len(value)
		}
	}
	return weight
}
