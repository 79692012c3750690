package security

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/nats-io/nats.go"
)

type natsVisitor struct {
	conn   *nats.Conn
	errors chan error
}

func visitNATS(t *testing.T, s *site, w shown) (visitor, error) {
	v := &natsVisitor{errors: make(chan error, 16)}
	options := []nats.Option{nats.Timeout(patience), nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case v.errors <- err:
		default: // nobody asked
		}
	})}
	switch {
	case w.token != "" && w.user == "":
		options = append(options, nats.Token(w.token))
	case !w.nothing():
		options = append(options, nats.UserInfo(w.user, w.secret()))
	}
	if w.tls != nil {
		options = append(options, nats.Secure(w.tls))
	}
	conn, err := nats.Connect("nats://"+s.at["NATS"], options...)
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, refusal("-ERR 'Authorization Violation'")
	}
	if err != nil {
		return nil, err
	}
	v.conn = conn
	t.Cleanup(v.close)
	return v, nil
}

// settled waits until the server has seen everything and returns what it minded.
func (v *natsVisitor) settled() error {
	if err := v.conn.FlushTimeout(patience); err != nil {
		return err
	}
	select {
	case err := <-v.errors:
		return ofNATS(err)
	default:
		return ofNATS(v.conn.LastError())
	}
}

func ofNATS(err error) error {
	if err == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	if strings.Contains(strings.ToLower(err.Error()), "subscription") {
		return refusal("-ERR 'Permissions Violation for Subscription …'")
	}
	return refusal("-ERR 'Permissions Violation for Publish …'")
}

func (v *natsVisitor) publish() error {
	return errors.Join(v.conn.Publish(subjectIn, nil), v.settled())
}

func (v *natsVisitor) subscribe() error {
	_, err := v.conn.SubscribeSync(subjectOut)
	if err != nil {
		return err
	}
	return v.settled()
}

func (v *natsVisitor) request() error {
	answers, err := v.conn.SubscribeSync(v.conn.NewInbox())
	if err != nil {
		return err
	}
	if err := v.conn.PublishRequest(subjectAsk, answers.Subject, nil); err != nil {
		return err
	}
	if err := v.settled(); err != nil {
		return err
	}
	answer, err := answers.NextMsg(patience)
	if errors.Is(err, nats.ErrNoResponders) || err == nil && answer.Header.Get("Status") == "503" {
		return refusal("status 503")
	}
	return err
}

func (v *natsVisitor) consume() error { return errNotThere }

// declare makes a stream: queues have no words in this protocol.
func (v *natsVisitor) declare() error {
	if err := v.conn.PublishRequest("$JS.API.STREAM.CREATE.table", v.conn.NewInbox(), []byte(`{"name":"table","subjects":["table.kept"]}`)); err != nil {
		return err
	}
	return v.settled()
}

func (v *natsVisitor) admin() error { return errNotThere }
func (v *natsVisitor) close()       { v.conn.Close() }

type mqttVisitor struct {
	client mqtt.Client
	lost   chan error
}

func visitMQTT(t *testing.T, s *site, w shown) (visitor, error) {
	v := &mqttVisitor{lost: make(chan error, 1)}
	scheme := "tcp://"
	if w.tls != nil {
		scheme = "tls://"
	}
	o := mqtt.NewClientOptions().AddBroker(scheme + s.at["MQTT"]).SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).
		SetClientID(fmt.Sprintf("visitor-%d", time.Now().UnixNano())).SetConnectionLostHandler(func(_ mqtt.Client, err error) { v.lost <- err })
	if w.tls != nil {
		o.SetTLSConfig(w.tls)
	}
	if !w.nothing() {
		o.SetUsername(w.user).SetPassword(w.secret())
	}
	v.client = mqtt.NewClient(o)
	err := v.wait(v.client.Connect())
	if errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised) {
		return nil, refusal("CONNACK 5")
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(v.close)
	return v, nil
}

func (v *mqttVisitor) wait(token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-v.lost:
		return refusal("closed")
	case <-time.After(patience):
		return errors.New("no answer")
	}
}

func (v *mqttVisitor) publish() error {
	return v.wait(v.client.Publish(strings.ReplaceAll(subjectIn, ".", "/"), 1, false, "x"))
}

func (v *mqttVisitor) subscribe() error {
	topic := strings.ReplaceAll(subjectOut, ".", "/")
	token := v.client.Subscribe(topic, 1, func(mqtt.Client, mqtt.Message) {})
	if err := v.wait(token); err != nil && !strings.Contains(err.Error(), "0x80") && !strings.Contains(err.Error(), "128") {
		if token.(*mqtt.SubscribeToken).Result()[topic] == 0x80 {
			return refusal("SUBACK 0x80")
		}
		return err
	}
	if token.(*mqtt.SubscribeToken).Result()[topic] == 0x80 {
		return refusal("SUBACK 0x80")
	}
	return nil
}

func (v *mqttVisitor) request() error { return errNotThere }
func (v *mqttVisitor) consume() error { return errNotThere }
func (v *mqttVisitor) declare() error { return errNotThere }
func (v *mqttVisitor) admin() error   { return errNotThere }
func (v *mqttVisitor) close()         { v.client.Disconnect(0) }
