package stomp

import (
	"net/textproto"
	"strconv"
	"strings"

	"portico/core"
)

// named pairs a STOMP header with Portico's. Those that need more than another name are in incoming and outgoing.
type named struct{ stomp, portico string }

// properties are RabbitMQ's names for the properties of a message.
var properties = [...]named{
	{"content-type", core.HeaderContentType},
	{"content-encoding", core.HeaderContentEncoding},
	{"correlation-id", core.HeaderCorrelationID},
	{"amqp-message-id", core.HeaderMessageID},
	{"priority", core.HeaderPriority},
	{"expiration", core.HeaderExpiration},
	{"timestamp", core.HeaderTimestamp},
	{"type", core.HeaderType},
	{"app-id", core.HeaderAppID},
	{"user-id", core.HeaderUserID},
}

func porticoName(stomp string) string {
	for _, p := range properties {
		if p.stomp == stomp {
			return p.portico
		}
	}
	return ""
}

func stompName(canonical string) string {
	for _, p := range properties {
		if p.portico == canonical {
			return p.stomp
		}
	}
	return ""
}

// frameOnly tells whether a header is a frame's and not a message's.
func frameOnly(name string) bool {
	switch name {
	case "destination", "receipt", "transaction", "content-length", "message-id", "subscription", "ack", "redelivered":
		return true
	}
	return false
}

// incoming is the header of the message that a SEND carries, but for its reply-to.
func incoming(f *Frame) core.Header {
	h := core.Header{}
	for _, x := range f.Fields {
		if _, twice := h[x.Name]; twice || frameOnly(x.Name) || x.Name == "reply-to" || describesQueue(x.Name) {
			continue
		}
		switch name := porticoName(x.Name); {
		case x.Name == "persistent":
			if x.Value == "true" {
				h[core.HeaderDeliveryMode] = []string{"2"}
			}
		case name == "":
			h[x.Name] = []string{x.Value}
		case h[name] == nil:
			h[name] = []string{x.Value}
		}
	}
	return h
}

// outgoing appends the header of a message to the fields of a MESSAGE, but for its reply-to.
func outgoing(fields []Field, h core.Header) []Field {
	for name, values := range h {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		told := stompName(canonical)
		switch {
		case canonical == core.HeaderReplyTo, canonical == core.HeaderAMQP, canonical == core.HeaderOrigin:
			continue
		case canonical == core.HeaderDeliveryMode:
			if len(values) == 1 && values[0] == "2" {
				fields = append(fields, Field{"persistent", "true"})
			}
			continue
		case told == "":
			told = name
		}
		if frameOnly(told) {
			continue // the frame's own counts
		}
		for _, v := range values {
			fields = append(fields, Field{told, v})
		}
	}
	return fields
}

// replyTo is what a message's reply subject, or the queue it names for answers, is called in a MESSAGE; "" if it wants none.
func replyTo(m *core.Message) string {
	switch queue := m.Header.Get(core.HeaderReplyTo); {
	case strings.HasPrefix(m.Reply, inboxPrefix):
		return "/reply-queue/" + escapePart(m.Reply)
	case m.Reply != "":
		key, _ := core.DecodeKey(m.Reply)
		return "/topic/" + escapePart(key)
	case queue == "" || strings.HasPrefix(queue, "/"):
		return queue
	default:
		return "/queue/" + escapePart(queue)
	}
}

// flag reads a header that is true or false.
func (f *Frame) flag(name string, preset bool) (bool, error) {
	v, there := f.Lookup(name)
	if !there {
		return preset, nil
	}
	if v != "true" && v != "false" {
		return false, core.Errorf(core.CodeInvalid, "header %s is %.32q: want true or false", name, v)
	}
	return v == "true", nil
}

// number reads a header that is a whole number from least to most; set tells whether it is there.
func (f *Frame) number(name string, least, most int64) (n int64, set bool, err error) {
	v, there := f.Lookup(name)
	if !there {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, false, core.Errorf(core.CodeInvalid, "header %s is %.32q: want a number from %d to %d", name, v, least, most)
	}
	return n, true, nil
}
