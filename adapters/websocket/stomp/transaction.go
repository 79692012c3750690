package stomp

import (
	"sync/atomic"

	"portico/core"
)

// transaction is SENDs, ACKs and NACKs that wait for COMMIT. It is for the reader. What it keeps is taken from the memory that all sessions share.
type transaction struct {
	frames []*Frame
	bytes  int64
}

// frameCost is what a frame in a transaction weighs beside its body.
const frameCost = 1 << 10

func transactionOf(f *Frame) (string, error) {
	name, there := f.Lookup("transaction")
	if !there || name == "" {
		return "", core.Errorf(core.CodeInvalid, "%s without transaction", f.Command)
	}
	return name, nil
}

func (s *Session) begin(f *Frame) error {
	name, err := transactionOf(f)
	if err != nil {
		return err
	}
	switch {
	case s.transactions[name] != nil:
		return core.Errorf(core.CodePreconditionFailed, "transaction %.64q has begun already", name)
	case len(s.transactions) >= maxTransactions:
		return core.Errorf(core.CodeResourceExhausted, "the session has %d transactions, the most it may have", maxTransactions)
	}
	s.transactions[name] = &transaction{}
	s.receipt(f)(nil)
	return nil
}

func (s *Session) running(name string) (*transaction, error) {
	t := s.transactions[name]
	if t == nil {
		return nil, core.Errorf(core.CodeNotFound, "there is no transaction %.64q", name)
	}
	return t, nil
}

// gather puts a frame into its transaction; its receipt comes when it is committed. A SEND that cannot be is told at once.
func (s *Session) gather(name string, f *Frame) error {
	t, err := s.running(name)
	if err != nil {
		return err
	}
	if f.Command == "SEND" {
		if _, err := parseDestination(f.Get("destination")); err != nil {
			return err
		}
	}
	cost := int64(len(f.Body)) + frameCost
	if s.inTransit >= maxTransaction || !s.server.memory.TryAcquire(cost) {
		return core.Errorf(core.CodeResourceExhausted, "too much is in transactions: at most %d frames of a session", maxTransaction)
	}
	t.frames, t.bytes = append(t.frames, f), t.bytes+cost
	s.inTransit++
	return nil
}

// drop forgets a transaction.
func (s *Session) drop(name string) {
	t := s.transactions[name]
	delete(s.transactions, name)
	s.inTransit -= len(t.frames)
	s.server.memory.Release(t.bytes)
}

func (s *Session) abort(f *Frame) error {
	name, err := transactionOf(f)
	if err != nil {
		return err
	}
	if _, err := s.running(name); err != nil {
		return err
	}
	s.drop(name)
	s.receipt(f)(nil)
	return nil
}

// commit acts on everything in the transaction, in order; the RECEIPT comes when all of it is done. There is no going back: what comes before a frame that
// fails is done.
func (s *Session) commit(f *Frame) error {
	name, err := transactionOf(f)
	if err != nil {
		return err
	}
	t, err := s.running(name)
	if err != nil {
		return err
	}
	defer s.drop(name)
	all := &gathering{done: s.receipt(f)}
	all.left.Store(int64(len(t.frames)) + 1)
	for _, x := range t.frames {
		act := s.settle
		if x.Command == "SEND" {
			act = s.send
		}
		receipt := s.receipt(x)
		done := func(err error) {
			receipt(err)
			all.part(err)
		}
		if err := act(x, done); err != nil {
			return err
		}
	}
	all.part(nil)
	return nil
}

// gathering is told of each part of a commit.
type gathering struct {
	left atomic.Int64
	err  atomic.Pointer[error]
	done func(error)
}

// part takes one outcome; the last one is the commit's.
func (g *gathering) part(err error) {
	if err != nil {
		g.err.CompareAndSwap(nil, &err)
	}
	if g.left.Add(-1) > 0 {
		return
	}
	if failed := g.err.Load(); failed != nil {
		err = *failed
	}
	g.done(err)
}
