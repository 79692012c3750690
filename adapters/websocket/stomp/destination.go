package stomp

import (
	"net/url"
	"strings"

	"portico/core"
)

// kind is what a destination names.
type kind uint8

const (
	kindQueue    kind = iota // a queue, made if it is missing
	kindAMQQueue             // a queue that somebody else has made
	kindSubjects             // subjects: a topic, or an exchange with a routing key
	kindTemp                 // an inbox of the session, named by it
	kindReply                // an inbox of somebody else
)

// destination is a parsed destination.
type destination struct {
	kind     kind
	text     string // as the client wrote it
	name     string // the queue's, the inbox's subject, the session's word for a temporary queue
	exchange string // of kindSubjects; "" is the subject space itself, amq.topic
	key      string // routing key or pattern
	anyKey   bool   // no key was given
}

const (
	topicExchange = "amq.topic"
	inboxPrefix   = "_INBOX."
)

// parseDestination reads RabbitMQ's destinations. Each part between slashes is percent-decoded; a name without any is a queue's.
func parseDestination(text string) (destination, error) {
	d := destination{text: text}
	bad := core.Errorf(core.CodeInvalid, "destination %.256q: want /queue/NAME, /amq/queue/NAME, /topic/KEY, /exchange/NAME, /exchange/NAME/KEY, /temp-queue/NAME or /reply-queue/NAME", text)
	if text != "" && !strings.Contains(text, "/") {
		text = "/queue/" + text
	}
	if !strings.HasPrefix(text, "/") {
		return d, bad
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil || plain == "" {
			return d, bad
		}
		parts[i] = plain
	}
	switch head, n := parts[0], len(parts); {
	case head == "queue" && n == 2:
		d.kind, d.name = kindQueue, parts[1]
	case head == "amq" && n == 3 && parts[1] == "queue":
		d.kind, d.name = kindAMQQueue, parts[2]
	case head == "topic" && n == 2:
		d.kind, d.key = kindSubjects, parts[1]
	case head == "exchange" && (n == 2 || n == 3):
		d.kind, d.exchange, d.anyKey = kindSubjects, parts[1], n == 2
		d.key = strings.Join(parts[2:], "")
	case head == "temp-queue" && n == 2:
		d.kind, d.name = kindTemp, parts[1]
	case head == "reply-queue" && n == 2 && strings.HasPrefix(parts[1], inboxPrefix):
		d.kind, d.name = kindReply, parts[1]
	case head == "reply-queue" && n == 2:
		d.kind, d.name = kindAMQQueue, parts[1]
	default:
		return d, bad
	}
	if d.exchange == topicExchange {
		d.exchange = ""
	}
	return d, nil
}

// prefix is what subjects of the destination's exchange begin with.
func (d *destination) prefix() string {
	if d.exchange == "" {
		return ""
	}
	return core.EncodeToken(d.exchange) + "."
}

// subject is where a message to the destination is published.
func (d *destination) subject() string {
	if d.exchange == "" {
		return core.EncodeKey(d.key)
	}
	return d.prefix() + strings.TrimPrefix(core.EncodeKey(behind+d.key), behind)
}

// behind stands for an exchange's name where a key is encoded that follows one: no first word of such a key is reserved.
const behind = "x."

// patterns are what a subscription to the destination listens on.
func (d *destination) patterns() []string {
	if d.anyKey {
		return []string{d.prefix() + ">"}
	}
	if d.exchange == "" {
		return core.EncodePattern(d.key)
	}
	var all []string
	for _, p := range core.EncodePattern(behind + d.key) {
		if rest, ok := strings.CutPrefix(p, behind); ok { // not the exchange's name alone, which is no subject of it
			all = append(all, d.prefix()+rest)
		}
	}
	return all
}

// exact tells whether the patterns match nothing but what the destination does; if not, deliveries have to be looked at again.
func (d *destination) exact() bool {
	words := strings.Split(d.key, ".")
	for _, w := range words[:len(words)-1] {
		if w == "#" {
			return false
		}
	}
	return true
}

// covers tells whether a message on subject is the destination's.
func (d *destination) covers(subject string) bool {
	key, _ := core.DecodeKey(strings.TrimPrefix(subject, d.prefix()))
	return topicMatch(strings.Split(d.key, "."), strings.Split(key, "."))
}

// topicMatch is AMQP's: * is one word, # any number of them.
func topicMatch(pattern, words []string) bool {
	// reached[i]: the words so far can be matched by the first i of the pattern
	reached := make([]bool, len(pattern)+1)
	reached[0] = true
	skipHashes(pattern, reached)
	for _, w := range words {
		next := make([]bool, len(pattern)+1)
		for i, p := range pattern {
			if reached[i] && (p == "*" || p == w) && p != "#" {
				next[i+1] = true
			}
			if p == "#" && reached[i] {
				next[i] = true
			}
		}
		skipHashes(pattern, next)
		reached = next
	}
	return reached[len(pattern)]
}

func skipHashes(pattern []string, reached []bool) {
	for i, p := range pattern {
		if p == "#" && reached[i] {
			reached[i+1] = true
		}
	}
}

// escapePart writes a part of a destination so that parseDestination reads it back.
func escapePart(s string) string {
	if !strings.ContainsAny(s, "/%") {
		return s
	}
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(s)
}

// tell is the destination of a message with this subject that came by a subscription to d.
func (d *destination) tell(subject string) string {
	switch {
	case d.kind == kindTemp:
		return d.text
	case subject == "":
		return "/queue/" + escapePart(d.name)
	case strings.HasPrefix(subject, inboxPrefix):
		return "/reply-queue/" + escapePart(subject)
	case d.kind == kindSubjects && d.exchange != "":
		key, _ := core.DecodeKey(strings.TrimPrefix(subject, d.prefix()))
		return strings.TrimSuffix("/exchange/"+escapePart(d.exchange)+"/"+escapePart(key), "/")
	}
	key, _ := core.DecodeKey(subject)
	return "/topic/" + escapePart(key)
}
