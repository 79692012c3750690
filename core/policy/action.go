package policy

import (
	"fmt"
	"slices"
)

// Kind is what is acted on.
type Kind uint8

// The kinds of resources.
const (
	Subject  Kind = iota // of the bus; a pattern for Subscribe and Serve
	Queue                // by its name
	Stream               // by its name
	Bucket               // of keys or objects, by its name
	Exchange             // of AMQP, by its name; "" is the default one
	System               // the gateway itself
)

// Action is what is done with a resource.
type Action uint8

// The actions, each on one kind but those that AMQP has for exchanges.
const (
	Publish Action = iota
	Subscribe
	Request // publish, and wait for an answer
	Serve   // subscribe, and answer
	Append
	Consume
	Declare
	Bind
	Purge
	Delete
	ReadStream
	WriteStream
	ManageStream
	ReadBucket
	WriteBucket
	ManageBucket
	ConfigureExchange
	WriteExchange
	ReadExchange
	BindExchange // to another exchange
	Administer   // change users, permissions, the configuration
	Monitor      // look at everything
	actions      // how many there are
)

var words = [actions]struct {
	word string
	kind Kind
}{
	Publish: {"publish", Subject}, Subscribe: {"subscribe", Subject}, Request: {"request", Subject}, Serve: {"serve", Subject},
	Append: {"append", Queue}, Consume: {"consume", Queue}, Declare: {"declare", Queue}, Bind: {"bind", Queue}, Purge: {"purge", Queue}, Delete: {"delete", Queue},
	ReadStream: {"read", Stream}, WriteStream: {"write", Stream}, ManageStream: {"manage", Stream},
	ReadBucket: {"read", Bucket}, WriteBucket: {"write", Bucket}, ManageBucket: {"manage", Bucket},
	ConfigureExchange: {"configure", Exchange}, WriteExchange: {"write", Exchange}, ReadExchange: {"read", Exchange}, BindExchange: {"bind", Exchange},
	Administer: {"administer", System}, Monitor: {"monitor", System},
}

var kindWords = [...]string{Subject: "subject", Queue: "queue", Stream: "stream", Bucket: "bucket", Exchange: "exchange", System: "system"}

// String is the word of the kind, as in "queue".
func (k Kind) String() string { return kindWords[k] }

// Kind is what the action is done with.
func (a Action) Kind() Kind { return words[a].kind }

// String is the action as it is written: "publish", "queue.consume".
func (a Action) String() string {
	if k := a.Kind(); k != Subject && k != System {
		return k.String() + "." + words[a].word
	}
	return words[a].word
}

// Actions are all of them, as they are written.
func Actions() []string {
	all := make([]string, actions)
	for a := range actions {
		all[a] = a.String()
	}
	return all
}

// ParseAction reads an action as String writes it. The word alone does where only one kind has it: "consume".
func ParseAction(s string) (Action, error) {
	if i := slices.Index(Actions(), s); i >= 0 {
		return Action(i), nil
	}
	for a := range actions {
		if words[a].word == s && words[a].kind == Queue {
			return a, nil
		}
	}
	return 0, fmt.Errorf("action %q: want one of %v", s, Actions())
}

// Resource is what an action is about. Of which kind it is the action says.
type Resource struct {
	Name string // a subject or pattern, or the name of a queue, stream, bucket or exchange

	Subject string // of a queue: what it is called in lists of subjects; of an exchange: the subject of the bus that publishers to it are heard on, "" for none

	// Of an exchange: the routing key, and whether it is one by topics.
	Key     string
	ByTopic bool

	// Of a subject: the exchange below whose name it lies, "" for none, and the key there.
	Owner    string
	OwnerKey string
	OwnTopic bool // the owner routes by topics
}

// Decision is an answer with the rule that gave it.
type Decision struct {
	Allowed bool
	Rule    string // such as `publish.allow[0] "orders.>"`
}
