package e2e

import (
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func mqttDoor(t *testing.T, address string) *door {
	t.Helper()
	options := mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID("e2e").SetAutoReconnect(false).
		SetConnectTimeout(patience)
	client := mqtt.NewClient(options)
	done(t, client.Connect(), "connect")
	t.Cleanup(func() { client.Disconnect(100) })
	return &door{
		name: "MQTT",
		publish: func(t *testing.T, m message) error {
			t.Helper()
			done(t, client.Publish(strings.ReplaceAll(m.subject, ".", "/"), 1, false, m.data), "publish")
			return nil
		},
		subscribe: func(t *testing.T, subject string) <-chan message {
			t.Helper()
			arrived := make(chan message, 64)
			topic := strings.ReplaceAll(subject, ".", "/")
			done(t, client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
				arrived <- message{subject: strings.ReplaceAll(m.Topic(), "/", "."), data: m.Payload()}
			}), "subscribe")
			t.Cleanup(func() { client.Unsubscribe(topic).WaitTimeout(patience) })
			return arrived
		},
	}
}

func done(t *testing.T, token mqtt.Token, what string) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatalf("MQTT %s: not within %v", what, patience)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("MQTT %s: %v", what, err)
	}
}
