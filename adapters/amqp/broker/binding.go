package broker

import "slices"

// Bind adds b, or finds it there [0-9-1 queue.bind, RMQ exchange.bind]. That the
// queue exists, and keeps existing until Bind has returned, is the caller's to see
// to. Errors: 403 the default exchange on either side; 404 an exchange on either
// side that does not exist; 406 what the type of Source refuses (headers an x-match
// that is none, x-consistent-hash a key that is no integer above 0), and arguments
// that no field table can hold.
func (v *VHost) Bind(b Binding) (created bool, err error) {
	b = cleanBinding(b)
	if err := checkEnds(b); err != nil {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.begin()
	if created, err = c.bind(b); err != nil {
		return false, err
	}
	v.commit(c)
	return created, nil
}

// Unbind removes b, and Source with all that hangs on it if that is auto-delete and
// b was its last binding: Unbind right after Bind may leave less than there was. A
// binding or exchange that does not exist is no error. Errors: 403 the default
// exchange on either side; 406 arguments that no field table can hold.
func (v *VHost) Unbind(b Binding) (Removed, error) {
	b = cleanBinding(b)
	if err := checkEnds(b); err != nil {
		return Removed{}, err
	}
	ref, err := refOf(b)
	if err != nil {
		return Removed{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.begin()
	c.unbind(ref)
	return v.commit(c), nil
}

// DeleteQueue removes all bindings to the queue, and the auto-delete exchanges that
// lose their last binding by that.
func (v *VHost) DeleteQueue(name string) Removed {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.begin()
	c.unbindAll(destination{name: name})
	return v.commit(c)
}

// Bindings returns all bindings, sorted by source, destination and key; those of
// the default exchange are not listed. The slice is the caller's.
func (v *VHost) Bindings() []Binding {
	v.mu.Lock()
	var all []Binding
	for _, bs := range v.bindings {
		for _, b := range bs {
			all = append(all, b)
		}
	}
	v.mu.Unlock()
	slices.SortFunc(all, compareBindings)
	return all
}

// QueueBindings is [VHost.Bindings] for one queue.
func (v *VHost) QueueBindings(queue string) []Binding {
	v.mu.Lock()
	refs := v.leading[destination{name: queue}]
	all := make([]Binding, 0, len(refs))
	for ref := range refs {
		all = append(all, v.bindings[ref.source][ref.key])
	}
	v.mu.Unlock()
	slices.SortFunc(all, compareBindings)
	return all
}

func cleanBinding(b Binding) Binding {
	b.Source, b.Destination = CleanName(b.Source), CleanName(b.Destination)
	return b
}

func checkEnds(b Binding) error {
	if err := checkNotDefault(b.Source); err != nil {
		return err
	}
	if b.ToExchange {
		return checkNotDefault(b.Destination)
	}
	return nil
}

func refOf(b Binding) (bindingRef, error) {
	args, err := encodeArguments(b.Arguments)
	return bindingRef{
		source: b.Source,
		key:    bindingKey{destination: destination{b.Destination, b.ToExchange}, key: b.Key, args: args},
	}, err
}

// change is the next snapshot in the making. It writes the maps of v at once, so
// it exists only between begin and commit under v.mu, and once it has written
// anything it cannot fail.
type change struct {
	v         *VHost
	exchanges pmap[*exchange]
	made      bool // anything
	removed   Removed
	orphaned  []string // exchanges that lost a binding
}

func (v *VHost) begin() *change {
	return &change{v: v, exchanges: v.snap.Load().exchanges}
}

// commit lets readers see c and returns what it removed.
func (v *VHost) commit(c *change) Removed {
	c.autoDelete()
	if c.made {
		v.snap.Store(&snapshot{exchanges: c.exchanges, generation: v.snap.Load().generation + 1})
	}
	c.removed.sort()
	return c.removed
}

func (c *change) setExchange(x *exchange) {
	c.exchanges = c.exchanges.set(x.Name, x)
	c.made = true
}

// setMatcher gives x another matcher.
func (c *change) setMatcher(x *exchange, m matcher) {
	next := *x
	next.matcher = m
	c.setExchange(&next)
}

func (c *change) bind(b Binding) (created bool, err error) {
	x, ok := c.exchanges.get(b.Source)
	if !ok || b.Source == "" {
		return false, c.v.noExchange(b.Source)
	}
	if _, ok := c.exchanges.get(b.Destination); b.ToExchange && !ok {
		return false, c.v.noExchange(b.Destination)
	}
	if err := checkBinding(x.Exchange, b); err != nil {
		return false, err
	}
	ref, err := refOf(b)
	if err != nil {
		return false, err
	}
	if !c.index(ref, b) {
		return false, nil
	}
	c.setMatcher(x, x.matcher.add(ref.key, b.Arguments))
	return true, nil
}

// index enters b into the maps and says whether it is new.
func (c *change) index(ref bindingRef, b Binding) bool {
	from := c.v.bindings[ref.source]
	if _, exists := from[ref.key]; exists {
		return false
	}
	if from == nil {
		from = map[bindingKey]Binding{}
		c.v.bindings[ref.source] = from
	}
	from[ref.key] = b
	to := c.v.leading[ref.key.destination]
	if to == nil {
		to = map[bindingRef]struct{}{}
		c.v.leading[ref.key.destination] = to
	}
	to[ref] = struct{}{}
	return true
}

// unindex takes the binding out of the maps and lists it as removed; false if it
// is not there.
func (c *change) unindex(ref bindingRef) bool {
	b, ok := c.v.bindings[ref.source][ref.key]
	if !ok {
		return false
	}
	delete(c.v.bindings[ref.source], ref.key)
	if len(c.v.bindings[ref.source]) == 0 {
		delete(c.v.bindings, ref.source)
	}
	delete(c.v.leading[ref.key.destination], ref)
	if len(c.v.leading[ref.key.destination]) == 0 {
		delete(c.v.leading, ref.key.destination)
	}
	c.removed.Bindings = append(c.removed.Bindings, b)
	return true
}

func (c *change) unbind(ref bindingRef) {
	if !c.unindex(ref) {
		return
	}
	x, _ := c.exchanges.get(ref.source)
	c.setMatcher(x, x.matcher.remove(ref.key))
	c.orphaned = append(c.orphaned, ref.source)
}

func (c *change) unbindAll(to destination) {
	for ref := range c.v.leading[to] {
		c.unbind(ref)
	}
}

func (c *change) dropExchange(name string) {
	x, ok := c.exchanges.get(name)
	if !ok {
		return
	}
	for key := range c.v.bindings[name] {
		c.unindex(bindingRef{source: name, key: key})
	}
	c.unbindAll(destination{name: name, toExchange: true})
	c.exchanges = c.exchanges.without(name)
	c.made = true
	c.removed.Exchanges = append(c.removed.Exchanges, x.Exchange)
}

// autoDelete drops the auto-delete exchanges that have lost their last binding,
// and those that lose theirs by that. Each pass takes a name off the list, names
// come on only with a removed binding, so it ends.
func (c *change) autoDelete() {
	for len(c.orphaned) > 0 {
		name := c.orphaned[len(c.orphaned)-1]
		c.orphaned = c.orphaned[:len(c.orphaned)-1]
		if x, ok := c.exchanges.get(name); ok && x.AutoDelete && len(c.v.bindings[name]) == 0 {
			c.dropExchange(name)
		}
	}
}
