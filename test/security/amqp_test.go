package security

import (
	"errors"
	"fmt"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

type amqpVisitor struct{ conn *amqp091.Connection }

func visitAMQP(t *testing.T, s *site, w shown) (visitor, error) {
	config := amqp091.Config{Vhost: "/", Heartbeat: patience, TLSClientConfig: w.tls, Dial: amqp091.DefaultDial(patience)}
	switch {
	case w.external:
		config.SASL = []amqp091.Authentication{&amqp091.ExternalAuth{}}
	default:
		config.SASL = []amqp091.Authentication{&amqp091.PlainAuth{Username: w.user, Password: w.secret()}}
	}
	scheme := "amqp://"
	if w.tls != nil {
		scheme = "amqps://"
	}
	conn, err := amqp091.DialConfig(scheme+s.at["AMQP"], config)
	if err != nil {
		return nil, ofAMQP(err, "connection")
	}
	v := &amqpVisitor{conn}
	t.Cleanup(v.close)
	return v, nil
}

// ofAMQP is the reply code of an error that the server gave, and what it has ended.
func ofAMQP(err error, scope string) error {
	e, ok := errors.AsType[*amqp091.Error](err)
	switch {
	case !ok || e == nil:
		return err
	case e.Code == amqp091.NotFound:
		return refusal(fmt.Sprintf("404 NOT_FOUND (%s)", scope))
	case e.Code == amqp091.AccessRefused:
		return refusal(fmt.Sprintf("403 ACCESS_REFUSED (%s)", scope))
	case e.Code == amqp091.NotAllowed:
		return refusal(fmt.Sprintf("530 NOT_ALLOWED (%s)", scope))
	}
	return err
}

// on does something on a channel of its own. What the server says later counts, too.
func (v *amqpVisitor) on(do func(*amqp091.Channel) error) error {
	ch, err := v.conn.Channel()
	if err != nil {
		return ofAMQP(err, "connection")
	}
	defer ch.Close()
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	if err = do(ch); err == nil || errors.Is(err, amqp091.ErrClosed) {
		select {
		case e := <-closed:
			if e != nil {
				err = e
			}
		default:
		}
	}
	return ofAMQP(err, "channel")
}

func (v *amqpVisitor) publish() error {
	return v.on(func(ch *amqp091.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
		confirm, err := ch.PublishWithDeferredConfirm("amq.topic", subjectIn, false, false, amqp091.Publishing{})
		if err != nil {
			return err
		}
		select {
		case <-confirm.Done():
			if confirm.Acked() {
				return nil
			}
			select {
			case e := <-closed:
				return e
			case <-time.After(patience):
				return errors.New("nacked")
			}
		case e := <-closed:
			return e
		case <-time.After(patience):
			return errors.New("no confirm")
		}
	})
}

func (v *amqpVisitor) subscribe() error {
	return v.on(func(ch *amqp091.Channel) error {
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			return err
		}
		if err := ch.QueueBind(q.Name, subjectOut, "amq.topic", false, nil); err != nil {
			return err
		}
		_, err = ch.Consume(q.Name, "", true, false, false, false, nil)
		return err
	})
}

func (v *amqpVisitor) request() error {
	return v.on(func(ch *amqp091.Channel) error {
		answers, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
		returned := ch.NotifyReturn(make(chan amqp091.Return, 1))
		if err := ch.Publish("amq.topic", subjectAsk, true, false, amqp091.Publishing{ReplyTo: "amq.rabbitmq.reply-to"}); err != nil {
			return err
		}
		select {
		case _, ok := <-answers:
			if ok {
				return nil
			}
			return <-closed
		case r := <-returned:
			return refusal(fmt.Sprintf("basic.return %d", r.ReplyCode))
		case e := <-closed:
			return e
		case <-time.After(patience):
			return errors.New("no answer")
		}
	})
}

func (v *amqpVisitor) consume() error {
	return v.on(func(ch *amqp091.Channel) error {
		_, err := ch.Consume(queueThere, "", false, false, false, false, nil)
		return err
	})
}

func (v *amqpVisitor) declare() error {
	return v.on(func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclare(queueNew, true, false, false, false, nil)
		return err
	})
}

func (v *amqpVisitor) admin() error { return errNotThere }
func (v *amqpVisitor) close()       { v.conn.Close() }
