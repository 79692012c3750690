package policy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// defaultTenant is the default tenant, and what its vhost is called.
const defaultTenant = "/"

// The three rights of AMQP.
const (
	configure = iota
	write
	read
	rights
)

// regex is one regular expression with the name that explains it. It looks anywhere in a name, as RabbitMQ's do; an empty one matches the empty name alone.
type regex struct {
	re   *regexp.Regexp
	all  bool // matches whatever there is
	name string
}

// regexes are the AMQP rights of an identity in its vhost: what is not named there is refused.
type regexes struct {
	byRight [rights]regex
	topics  map[string][rights]regex // by exchange; configure is unused
}

// newRegexes returns nil if spec has none for any vhost.
func newRegexes(user, tenant string, spec *Spec) (*regexes, error) {
	if len(spec.AMQP)+len(spec.Topics) == 0 {
		return nil, nil //nolint:nilnil // no rules
	}
	if tenant == "" {
		tenant = defaultTenant
	}
	out := &regexes{topics: map[string][rights]regex{}}
	texts := [rights]string{} // of a vhost that is not named: nothing
	where := "amqp has none for vhost " + strconv.Quote(tenant)
	if len(spec.AMQP) == 0 {
		texts, where = [rights]string{".*", ".*", ".*"}, "no amqp"
	}
	for i, v := range spec.AMQP {
		each, err := compileAll(fmt.Sprintf("amqp[%d]", i), [rights]string{v.Configure, v.Write, v.Read})
		if err != nil {
			return nil, err
		}
		if v.VHost == tenant || v.VHost == "" && tenant == defaultTenant {
			out.byRight, where = each, ""
		}
	}
	if where != "" {
		out.byRight, _ = compileAll(where, texts) // these compile
	}
	values := strings.NewReplacer("{username}", regexp.QuoteMeta(user), "{vhost}", regexp.QuoteMeta(tenant))
	for i, t := range spec.Topics {
		each, err := compileAll(fmt.Sprintf("topics[%d]", i), [rights]string{write: values.Replace(t.Write), read: values.Replace(t.Read)})
		if err != nil {
			return nil, err
		}
		if t.VHost == tenant || t.VHost == "" && tenant == defaultTenant {
			out.topics[t.Exchange] = each
		}
	}
	return out, nil
}

func compileAll(where string, texts [rights]string) (out [rights]regex, err error) {
	for i, text := range texts {
		name := [rights]string{"configure", "write", "read"}[i]
		if out[i], err = compile(where+"."+name, text); err != nil {
			return out, err
		}
	}
	return out, nil
}

func compile(name, text string) (regex, error) {
	if len(text) > maxRegex {
		return regex{}, fmt.Errorf("%s: regular expression of %d bytes: at most %d", name, len(text), maxRegex)
	}
	name += " " + strconv.Quote(text)
	if text == "" {
		text = "^$"
	}
	re, err := regexp.Compile(text)
	if err != nil {
		why := err
		if e, ok := err.(*syntax.Error); ok { //nolint:errorlint // regexp documents this type
			why = fmt.Errorf("%s: %q", e.Code, e.Expr)
		}
		return regex{}, fmt.Errorf("%s is no regular expression that the gateway knows (RE2: no look-around, no back references): %w", name, why)
	}
	all := false
	switch text {
	case ".*", "^.*", ".*$", "^.*$", "^", "$", ".?", "()":
		all = true
	}
	return regex{re, all, name}, nil
}

// on decides by one regular expression.
func (r *regex) on(name string) Decision {
	return Decision{Allowed: r.all || r.re.MatchString(name), Rule: r.name}
}

// needs says which right an action needs on a thing of that name, as on a queue in AMQP: declare and delete configure; bind and append write; consume and purge read.
var needs = [actions]int{
	Publish: write, Request: write, Subscribe: read, Serve: read,
	Append: write, Consume: read, Declare: configure, Bind: write, Purge: read, Delete: configure,
	ReadStream: read, WriteStream: write, ManageStream: configure,
	ReadBucket: read, WriteBucket: write, ManageBucket: configure,
	ConfigureExchange: configure, WriteExchange: write, ReadExchange: read, BindExchange: write,
}

// onName decides about a queue, stream or bucket. What is appended to a queue goes through the default exchange.
func (x *regexes) onName(a Action, name string) Decision {
	if x == nil {
		return Decision{Allowed: true, Rule: ruleNoList}
	}
	if a == Append {
		name = DefaultExchange
	}
	return x.byRight[needs[a]].on(name)
}

// onExchange decides about an exchange, and by its topic permission about the routing key.
func (x *regexes) onExchange(a Action, r Resource) Decision {
	if x == nil {
		return Decision{Allowed: true, Rule: ruleNoList}
	}
	if r.Name == "" {
		r.Name = DefaultExchange
	}
	d := x.byRight[needs[a]].on(r.Name)
	if !d.Allowed || !r.ByTopic || a == ConfigureExchange || a == BindExchange {
		return d
	}
	if t, ok := x.topics[r.Name]; ok {
		return t[needs[a]].on(r.Key)
	}
	return d
}

// onSubject decides about a subject: it is a routing key of the topic exchange that has the whole bus below it, and of the exchange below whose name it lies, if there is one.
func (x *regexes) onSubject(a Action, r Resource) Decision {
	if x == nil || isInbox(r.Name) {
		return Decision{Allowed: true, Rule: ruleNoList}
	}
	d := x.onExchange(a, Resource{Name: TopicExchange, Key: r.Key, ByTopic: true})
	if !d.Allowed || r.Owner == "" {
		return d
	}
	return both(d, x.onExchange(a, Resource{Name: r.Owner, Key: r.OwnerKey, ByTopic: r.OwnTopic}))
}

// open tells whether a right is everything, topic permissions included.
func (x *regexes) open(right int) bool {
	if x == nil {
		return true
	}
	for _, t := range x.topics {
		if right != configure && !t[right].all {
			return false
		}
	}
	return x.byRight[right].all
}

// ReadsAll tells whether regular expressions let every exchange be read.
func (p *Policy) ReadsAll() bool { return p == nil || p.amqp.open(read) }
