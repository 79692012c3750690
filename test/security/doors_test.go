package security

import (
	"testing"
)

// The names that the visitors act on.
const (
	subjectIn  = "table.in"  // published to
	subjectOut = "table.out" // subscribed to
	subjectAsk = "table.ask" // somebody answers there
	queueThere = "table-queue"
	queueNew   = "table-new"
)

// visitor is a client at one door that is in.
type visitor interface {
	publish() error
	subscribe() error
	request() error
	consume() error
	declare() error
	admin() error
	close()
}

// actions are what a visitor can try, in the order of the table.
var actions = []struct {
	name string
	try  func(visitor) error
}{
	{"publish", visitor.publish}, {"subscribe", visitor.subscribe}, {"request", visitor.request},
	{"consume", visitor.consume}, {"declare", visitor.declare}, {"admin", visitor.admin},
}

// doors are the ways in. An error of them that is a refusal is the protocol's own.
var doors = []struct {
	name  string
	visit func(*testing.T, *site, shown) (visitor, error)
}{
	{"HTTP", visitHTTP}, {"WebSocket", visitWebSocket}, {"STOMP", visitSTOMP}, {"gRPC", visitGRPC}, {"AMQP", visitAMQP}, {"NATS", visitNATS}, {"MQTT", visitMQTT},
}
