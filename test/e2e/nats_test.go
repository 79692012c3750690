package e2e

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

func natsDoor(t *testing.T, address string) *door {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.Timeout(patience))
	must(t, err)
	t.Cleanup(nc.Close)
	return &door{
		name: "NATS", headers: true,
		publish: func(t *testing.T, m message) error {
			return errors.Join(nc.PublishMsg(natsMessage(m)), nc.FlushWithContext(within(t)))
		},
		subscribe: func(t *testing.T, subject string) <-chan message {
			t.Helper()
			arrived := make(chan message, 64)
			listenNATS(t, nc, subject, func(m *nats.Msg) { arrived <- fromNATS(m) })
			return arrived
		},
		request: func(t *testing.T, m message) (message, error) {
			answer, err := nc.RequestMsgWithContext(within(t), natsMessage(m))
			if errors.Is(err, nats.ErrNoResponders) {
				return message{}, errNobody
			}
			if err != nil {
				return message{}, err
			}
			return fromNATS(answer), nil
		},
		serve: func(t *testing.T, subject string, answer func(message) message) (stop func()) {
			t.Helper()
			sub := listenNATS(t, nc, subject, func(m *nats.Msg) { _ = m.RespondMsg(natsMessage(answer(fromNATS(m)))) })
			return func() { _ = sub.Unsubscribe(); _ = nc.Flush() }
		},
	}
}

func listenNATS(t *testing.T, nc *nats.Conn, subject string, f func(*nats.Msg)) *nats.Subscription {
	t.Helper()
	sub, err := nc.Subscribe(subject, f)
	must(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	must(t, nc.FlushWithContext(within(t)))
	return sub
}

func natsMessage(m message) *nats.Msg {
	out := &nats.Msg{Subject: m.subject, Header: nats.Header{}, Data: m.data}
	for name, value := range m.header {
		out.Header[name] = []string{value}
	}
	return out
}

func fromNATS(m *nats.Msg) message {
	header := make(map[string]string)
	for name, values := range m.Header {
		header[name] = values[0]
	}
	return message{subject: m.Subject, reply: m.Reply, header: header, data: m.Data}
}
