package broker

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portico/adapters/amqp/wire"
)

// VHost is the topology of one virtual host. All methods may be called from any
// number of goroutines. What a change says is seen by every Route that begins
// after the change has returned.
//
// Errors are *wire.ChanError unless said otherwise; the caller adds the method
// that caused them. Names are taken as they come but for carriage returns and line
// feeds (see [CleanName]). How many exchanges and bindings there may be is the
// caller's to limit.
type VHost struct {
	// immutable
	name string

	// read by anybody, stored under mu
	snap atomic.Pointer[snapshot]

	// scratch of readers
	routes sync.Pool // of *route

	// guarded by mu
	mu       sync.Mutex
	policies *Policies
	bindings map[string]map[bindingKey]Binding       // by source
	leading  map[destination]map[bindingRef]struct{} // bindings by where they lead
}

// snapshot is one state of the topology, immutable.
type snapshot struct {
	exchanges  pmap[*exchange]
	generation uint64
}

// exchange is an exchange with its bindings in one snapshot, immutable.
type exchange struct {
	Exchange
	alternate string
	matcher   matcher
}

// bindingRef names one binding of the virtual host.
type bindingRef struct {
	source string
	key    bindingKey
}

// New returns the virtual host of that name with its predeclared exchanges and no
// bindings.
func New(name string) *VHost {
	v := &VHost{
		name:     name,
		bindings: map[string]map[bindingKey]Binding{},
		leading:  map[destination]map[bindingRef]struct{}{},
	}
	var exchanges pmap[*exchange]
	for _, x := range predeclared() {
		exchanges = exchanges.set(x.Name, v.newExchange(x))
	}
	v.snap.Store(&snapshot{exchanges: exchanges, generation: 1})
	return v
}

// newExchange is x without bindings. Called under mu.
func (v *VHost) newExchange(x Exchange) *exchange {
	return &exchange{Exchange: x, alternate: v.alternate(x), matcher: newMatcher(x)}
}

// alternate is the alternate exchange of x by argument or else by policy. Called
// under mu.
func (v *VHost) alternate(x Exchange) string {
	if _, given := x.Arguments[alternateArg]; given || v.policies == nil {
		return x.Alternate()
	}
	return v.policies.ForExchange(x.Name).Alternate()
}

// SetPolicies has every exchange that names no alternate exchange in its arguments
// use the one of its policy, from now on, also those declared later. nil is no
// policies. It reads p once for the exchanges there are: call it again after p has
// changed. Where an alternate changes Generation does.
func (v *VHost) SetPolicies(p *Policies) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.policies = p
	c := v.begin()
	v.snap.Load().exchanges.each(func(_ string, x *exchange) {
		if name := v.alternate(x.Exchange); name != x.alternate {
			next := *x
			next.alternate = name
			c.setExchange(&next)
		}
	})
	v.commit(c)
}

// Alternate is the name of the exchange where messages go that match no binding of
// the exchange of that name: its argument's, else its policy's; empty when there is
// none, and when there is no such exchange.
func (v *VHost) Alternate(exchange string) string {
	x, ok := v.snap.Load().exchanges.get(exchange)
	if !ok {
		return ""
	}
	return x.alternate
}

// Name is the name given to [New].
func (v *VHost) Name() string { return v.name }

// Generation counts the changes that can alter a route. A Route result may be kept
// as long as the Generation read before that Route is still the present one.
func (v *VHost) Generation() uint64 { return v.snap.Load().generation }

// DeclareExchange creates x, or finds an equivalent one [0-9-1 exchange.declare].
// Equivalent is same type, durable, auto-delete and internal, and of the arguments
// the alternate exchange only, whatever the type. Errors: 406 unknown type, not
// equivalent, an alternate exchange that is no string, or arguments that the type
// refuses; 403 the default exchange, and a new name that begins with "amq.".
func (v *VHost) DeclareExchange(x Exchange) (created bool, err error) {
	x.Name = CleanName(x.Name)
	if err := checkKnown(x.Type); err != nil {
		return false, err
	}
	if err := checkNotDefault(x.Name); err != nil {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, ok := v.snap.Load().exchanges.get(x.Name); ok {
		return false, v.checkEquivalent(x, old.Exchange)
	}
	if err := v.checkNew(x); err != nil {
		return false, err
	}
	c := v.begin()
	c.setExchange(v.newExchange(x))
	v.commit(c)
	return true, nil
}

func (v *VHost) checkEquivalent(received, current Exchange) error {
	fields := []struct {
		arg               string
		received, current any
	}{
		{"type", received.Type, current.Type},
		{"durable", received.Durable, current.Durable},
		{"auto_delete", received.AutoDelete, current.AutoDelete},
		{"internal", received.Internal, current.Internal},
	}
	for _, f := range fields {
		if f.received != f.current {
			return InequivalentArg("exchange", current.Name, v.name, f.arg, f.received, f.current)
		}
	}
	return CheckArgs("exchange", current.Name, v.name, received.Arguments, current.Arguments, alternateArg)
}

func (v *VHost) checkNew(x Exchange) error {
	if strings.HasPrefix(x.Name, reservedPrefix) {
		return wire.ChanErrorf(wire.AccessRefused,
			"exchange name '%s' contains reserved prefix 'amq.*'", x.Name)
	}
	if alternate, given := x.Arguments[alternateArg]; given {
		if !isString(alternate) {
			return v.invalidType(x.Name, alternateArg, alternate)
		}
	}
	if err := v.checkTypeArguments(x); err != nil {
		return err
	}
	_, err := encodeArguments(x.Arguments)
	return err
}

// encodeArguments returns arguments as octets, equal for equal tables, or the 406
// for a table that no field table can hold.
func encodeArguments(arguments wire.Table) (string, error) {
	if len(arguments) == 0 {
		return "", nil
	}
	b, err := wire.AppendTable(nil, arguments)
	if err != nil {
		return "", wire.ChanErrorf(wire.PreconditionFailed, "invalid arguments: %s", err)
	}
	return string(b), nil
}

func checkNotDefault(name string) error {
	if name != "" {
		return nil
	}
	return wire.ChanErrorf(wire.AccessRefused, "operation not permitted on the default exchange")
}

func (v *VHost) noExchange(name string) error {
	return wire.ChanErrorf(wire.NotFound, "no exchange '%s' in vhost '%s'", name, v.name)
}

// CheckExchange is the passive declaration: 404 if there is no exchange of that
// name, 403 for the default exchange.
func (v *VHost) CheckExchange(name string) error {
	name = CleanName(name)
	if err := checkNotDefault(name); err != nil {
		return err
	}
	if _, ok := v.snap.Load().exchanges.get(name); !ok {
		return v.noExchange(name)
	}
	return nil
}

// DeleteExchange removes an exchange with all bindings from and to it, and the
// auto-delete exchanges that lose their last binding by that. One that does not
// exist is no error. Errors: 403 for the default exchange and "amq." names; 406 if
// ifUnused is set and the exchange is the source of a binding.
func (v *VHost) DeleteExchange(name string, ifUnused bool) (Removed, error) {
	name = CleanName(name)
	if err := checkNotDefault(name); err != nil {
		return Removed{}, err
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return Removed{}, wire.ChanErrorf(wire.AccessRefused,
			"deletion of system exchange '%s' in vhost '%s' not allowed", name, v.name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if ifUnused && len(v.bindings[name]) > 0 {
		return Removed{}, wire.ChanErrorf(wire.PreconditionFailed,
			"exchange '%s' in vhost '%s' in use", name, v.name)
	}
	c := v.begin()
	c.dropExchange(name)
	return v.commit(c), nil
}

// Exchange returns the exchange of that name.
func (v *VHost) Exchange(name string) (Exchange, bool) {
	x, ok := v.snap.Load().exchanges.get(name)
	if !ok {
		return Exchange{}, false
	}
	return x.Exchange, true
}

// Exchanges returns all exchanges, sorted by name, the default exchange first. The
// slice is the caller's.
func (v *VHost) Exchanges() []Exchange {
	exchanges := v.snap.Load().exchanges
	all := make([]Exchange, 0, exchanges.len())
	exchanges.each(func(_ string, x *exchange) { all = append(all, x.Exchange) })
	slices.SortFunc(all, compareExchanges)
	return all
}

// Restore adds what was kept over a restart, all at once and without the rules for
// clients, bindings after exchanges. It returns what it did not take because it no
// longer makes sense: an exchange of an unknown type, with arguments that its type
// refuses or unlike the one of its name that is there, a binding from or to an exchange that does not exist or with
// arguments that its exchange would refuse.
func (v *VHost) Restore(xs []Exchange, bs []Binding) Removed {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.begin()
	var refused Removed
	for _, x := range xs {
		old, exists := c.exchanges.get(x.Name)
		switch {
		case exists && v.checkEquivalent(x, old.Exchange) != nil, checkKnown(x.Type) != nil, v.checkTypeArguments(x) != nil:
			refused.Exchanges = append(refused.Exchanges, x)
		case !exists:
			c.setExchange(v.newExchange(x))
		}
	}
	for _, b := range bs {
		if _, err := c.bind(b); err != nil {
			refused.Bindings = append(refused.Bindings, b)
		}
	}
	v.commit(c)
	refused.sort()
	return refused
}
