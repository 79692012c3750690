package core

import (
	"sync"
	"time"
)

// Translator reads the properties of a Form other than text. The AMQP adapter has one; cmd registers it whether or not that door is open.
type Translator interface {
	// Subject is the bus subject of an envelope whose own subject is empty; "" if it has none (default exchange).
	Subject(props []byte) string
	// Header is the readable header.
	Header(props []byte) Header
}

// DeathTranslator is what a Translator may implement besides: Death returns props with a note that the message left a queue without being acknowledged, why
// ("rejected", "delivery_limit"), after how many deliveries and when. props itself is not changed.
type DeathTranslator interface {
	Death(props []byte, queue, reason string, count uint32, at time.Time) []byte
}

// translators are the registered ones.
type translators struct {
	mu     sync.RWMutex
	byForm map[Form]Translator // guarded by mu
}

func (t *translators) of(f Form) Translator {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byForm[f]
}

// Translate registers the translator of a form. Call it before anything is consumed.
func (g *Gateway) Translate(f Form, t Translator) {
	g.translators.mu.Lock()
	defer g.translators.mu.Unlock()
	if g.translators.byForm == nil {
		g.translators.byForm = map[Form]Translator{}
	}
	g.translators.byForm[f] = t
}

// Message opens a record as a Message in its readable form, whatever form it is stored in. Data is shared with record. An error means that the record is
// not one, or that nobody registered a Translator for its form.
func (g *Gateway) Message(record []byte) (*Message, error) {
	e, err := OpenEnvelope(record)
	if err != nil {
		return nil, err
	}
	m := &Message{Subject: string(e.Subject), Reply: string(e.Reply), Data: e.Data}
	if e.Form == FormText {
		m.Header, err = DecodeHeader(e.Props)
		return m, err
	}
	t := g.translators.of(e.Form)
	if t == nil {
		return nil, Errorf(CodeInternal, "no translator for messages of form %d", e.Form)
	}
	if m.Subject == "" {
		m.Subject = t.Subject(e.Props)
	}
	m.Header = t.Header(e.Props)
	return m, nil
}
