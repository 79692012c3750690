package core

import (
	"fmt"
	"slices"
	"strings"

	"portico/core/policy"
)

// What an identity with lists must be allowed to do for each call: what a NATS client would need for the same. The words behind the action are filled in with names of streams, consumers, buckets,
// keys and subjects. A wildcard in a list's first token does not cover subjects that begin with $ (see covers): such lists name "$JS.API.>" and the like.
const (
	mayCreateStream  = "publish $JS.API.STREAM.CREATE.%s"
	mayUpdateStream  = "publish $JS.API.STREAM.UPDATE.%s"
	mayReadConfig    = "publish $JS.API.STREAM.INFO.%s"
	mayListStreams   = "publish $JS.API.STREAM.LIST"
	mayDeleteStream  = "publish $JS.API.STREAM.DELETE.%s"
	mayPurgeStream   = "publish $JS.API.STREAM.PURGE.%s"
	mayDeleteMessage = "publish $JS.API.STREAM.MSG.DELETE.%s"
	mayReadStream    = "publish $JS.API.DIRECT.GET.%s"
	mayReadLast      = "publish $JS.API.DIRECT.GET.%s.%s"
	mayFollow        = "publish $JS.API.CONSUMER.CREATE.%s.>"
	maySee           = "subscribe %s" // the subjects of what is read

	mayCreateConsumer = "publish $JS.API.CONSUMER.CREATE.%s.%s"
	mayCreateFiltered = "publish $JS.API.CONSUMER.CREATE.%s.%s.%s" // with one subject
	mayReadConsumer   = "publish $JS.API.CONSUMER.INFO.%s.%s"
	mayListConsumers  = "publish $JS.API.CONSUMER.LIST.%s"
	mayDeleteConsumer = "publish $JS.API.CONSUMER.DELETE.%s.%s"
	mayPauseConsumer  = "publish $JS.API.CONSUMER.PAUSE.%s.%s"
	mayFetch          = "publish $JS.API.CONSUMER.MSG.NEXT.%s.%s"
	maySettle         = "publish %s" // the ticket

	mayPutKey   = "publish $KV.%s.%s"
	mayGetKey   = "publish $JS.API.DIRECT.GET.KV_%s.$KV.%s.%s"
	mayWatchKey = "subscribe $KV.%s.%s"

	mayPutObject = "publish $O.%s.>"
	mayGetObject = "subscribe $O.%s.>"
)

// may checks one of these rights: by the lists of streams and buckets if there are some that have something to say, else by what a NATS client would need. Regular expressions have to agree in any case.
func (b *Bus) may(right string, names ...any) error {
	p := b.Policy()
	if b.system || p.Open() {
		return nil
	}
	if a, name, ok := storageAction(right, names); ok {
		if d, decided := p.Storage(a, name); decided {
			if d.Allowed {
				return nil
			}
			return Errorf(CodePermissionDenied, "%s to %q is not allowed", a, name)
		}
	}
	action, subject, _ := strings.Cut(fmt.Sprintf(right, names...), " ")
	return b.listed(action, subject)
}

// listed looks for a subject of the bus in the lists.
func (b *Bus) listed(action, subject string) error {
	a := policy.Publish
	if action == actionSubscribe {
		a = policy.Subscribe
	}
	return b.refused(a, policy.Resource{Name: subject})
}

// ticketStream is the stream that a ticket's message is of: $JS.ACK.STREAM.CONSUMER.…, or with a domain and an account before the stream.
func ticketStream(ticket string) (name string, ok bool) {
	words := strings.Split(ticket, ".")
	switch {
	case len(words) >= 11:
		return words[4], true
	case len(words) >= 9:
		return words[2], true
	}
	return "", false
}

// storageAction is what a right is to streams and buckets, and which one it is about; ok is false if it is about none.
func storageAction(right string, names []any) (a policy.Action, name string, ok bool) {
	if len(names) == 0 || right == maySee {
		return 0, "", false
	}
	name, ok = names[0].(string)
	if right == maySettle {
		name, ok = ticketStream(name)
	}
	a = policy.ReadStream
	switch right {
	case mayCreateStream, mayUpdateStream, mayDeleteStream:
		a = policy.ManageStream
	case mayPurgeStream, mayDeleteMessage:
		a = policy.WriteStream
	case mayPutKey, mayPutObject:
		return policy.WriteBucket, name, ok
	case mayGetKey, mayWatchKey, mayGetObject:
		return policy.ReadBucket, name, ok
	}
	for _, prefix := range []string{bucketPrefix, objectPrefix} {
		if bucket, found := strings.CutPrefix(name, prefix); found {
			return a + policy.ReadBucket - policy.ReadStream, bucket, ok
		}
	}
	return a, name, ok
}

// maySeeAll checks that all subjects may be read.
func (b *Bus) maySeeAll(subjects []string) error {
	for _, subject := range subjects {
		if err := b.may(maySee, subject); err != nil {
			return err
		}
	}
	return nil
}

// jetStream returns the way to the streams if this identity has the right.
func (b *Bus) jetStream(right string, names ...any) (*streams, error) {
	if err := b.may(right, names...); err != nil {
		return nil, err
	}
	return b.tenant.streams, nil
}

// onStream is jetStream for a right on a stream, whose name is checked first.
func (b *Bus) onStream(right, name string, more ...any) (*streams, error) {
	if err := checkName("stream", name); err != nil {
		return nil, err
	}
	if ownStream(name) {
		return nil, Errorf(CodeNotFound, "there is no stream %q", name)
	}
	return b.jetStream(right, slices.Insert(more, 0, any(name))...)
}

// onConsumer is onStream for a right on a consumer.
func (b *Bus) onConsumer(right, stream, name string, more ...any) (*streams, error) {
	if err := checkName("consumer", name); err != nil {
		return nil, err
	}
	if ownConsumer(name) {
		return nil, Errorf(CodeNotFound, "there is no consumer %q", name)
	}
	return b.onStream(right, stream, slices.Insert(more, 0, any(name))...)
}

// onBucket is jetStream for a right on a bucket and what more names.
func (b *Bus) onBucket(right, bucket string, names ...any) (*streams, error) {
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	return b.jetStream(right, names...)
}

// sight tells which messages of a stream an identity may see. A stream may have some of subjects that are not in its configuration, or were not when that was looked at: it was changed, it has sources or
// transforms subjects. It belongs to one goroutine.
type sight struct {
	bus    *Bus           // nil: everything may be seen
	policy *policy.Policy // that known is by
	known  map[string]bool
}

const maxSight = 1024 // subjects that are remembered; then it begins anew

func (b *Bus) sight() *sight {
	if b.system {
		return &sight{}
	}
	return &sight{bus: b, policy: b.Policy(), known: map[string]bool{}}
}

// may tells whether messages on a subject may be seen.
func (s *sight) may(subject string) bool {
	if s.all() {
		return true
	}
	ok, found := s.known[subject]
	if !found {
		if len(s.known) >= maxSight {
			clear(s.known)
		}
		ok = s.bus.may(maySee, subject) == nil
		s.known[subject] = ok
	}
	return ok
}

// all tells whether everything may be seen as things stand.
func (s *sight) all() bool {
	if s.bus == nil {
		return true
	}
	if p := s.bus.Policy(); p != s.policy {
		s.policy = p
		clear(s.known)
	}
	return s.policy.SeesAll()
}

// filter leaves out what may not be seen. It changes the slice.
func (s *sight) filter(messages []StoredMessage) []StoredMessage {
	if s.all() {
		return messages
	}
	return slices.DeleteFunc(messages, func(m StoredMessage) bool { return !s.may(m.Subject) })
}

// deliver is deliver for what may be seen.
func (s *sight) deliver(deliver func([]StoredMessage) error) func([]StoredMessage) error {
	if s.bus == nil {
		return deliver
	}
	return func(messages []StoredMessage) error {
		if messages = s.filter(messages); len(messages) == 0 {
			return nil
		}
		return deliver(messages)
	}
}
