package client

import (
	porticov1 "portico/proto/portico/v1"
)

// Header are a message's headers: text values by name. Names keep their case.
type Header map[string][]string

// Get is the first value of a header, empty if there is none.
func (h Header) Get(name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set gives a header one value.
func (h Header) Set(name, value string) { h[name] = []string{value} }

// Message is what travels. What the client gives out belongs to whoever takes it; what it is given it does not change, and must not be changed until the call has returned (PublishAsync: until it is answered).
type Message struct {
	Subject string
	Reply   string // subject of an answer; empty when none is wanted
	Header  Header // may be nil
	Data    []byte
}

func (m *Message) proto() *porticov1.Message {
	out := &porticov1.Message{Subject: m.Subject, Reply: m.Reply, Data: m.Data}
	if len(m.Header) > 0 {
		out.Headers = make(map[string]*porticov1.HeaderValues, len(m.Header))
		for name, values := range m.Header {
			out.Headers[name] = &porticov1.HeaderValues{Values: values}
		}
	}
	return out
}

func fromProto(m *porticov1.Message) *Message {
	out := &Message{Subject: m.GetSubject(), Reply: m.GetReply(), Data: m.GetData()}
	if headers := m.GetHeaders(); len(headers) > 0 {
		out.Header = make(Header, len(headers))
		for name, values := range headers {
			out.Header[name] = values.GetValues()
		}
	}
	return out
}

// size is about how many bytes a message takes.
func (m *Message) size() int {
	size := len(m.Subject) + len(m.Reply) + len(m.Data)
	for name, values := range m.Header {
		size += len(name)
		for _, v := range values {
			size += len(v)
		}
	}
	return size
}
