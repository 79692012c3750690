package webhook

import (
	"context"
	"strconv"
	"time"

	"portico/core"
)

const maxRows = 10_000 // deliveries that one look at a log tells of

// Status is what became of a delivery.
type Status string

// The statuses of deliveries.
const (
	Pending           Status = "pending"   // not delivered yet
	DeliverySucceeded Status = "succeeded" // a receiver has it
	DeliveryFailed    Status = "failed"    // the last attempt failed
	anyStatus         Status = ""
)

// Delivery is a message on its way to an endpoint, as the log has it.
type Delivery struct {
	ID         string    `json:"id" doc:"Its webhook-id"`
	Time       time.Time `json:"time" doc:"When it was taken in"`
	Subject    string    `json:"subject,omitempty"`
	Size       int       `json:"size" doc:"Bytes of its payload"`
	Replayable bool      `json:"replayable" doc:"The log has its payload"`
	Status     Status    `json:"status" enum:"pending,succeeded,failed"`
	Count      int       `json:"count" doc:"Attempts"`
	Last       *Attempt  `json:"last,omitempty"`
	Attempts   []Attempt `json:"attempts,omitempty" doc:"Of one that was asked for by its id"`
	number     uint64
}

// rows gathers deliveries from a log.
type rows struct {
	byID  map[string]*Delivery
	order []*Delivery
	since time.Time
	full  bool // there were more
	all   bool // attempts are wanted, not only the last
	only  string
}

// add takes an entry in.
func (r *rows) add(e found) error {
	if e.Closed || r.only != "" && e.ID != r.only {
		return nil
	}
	d := r.byID[e.ID]
	if !e.message() {
		r.attempt(d, *e.Attempt)
		return nil
	}
	switch {
	case d != nil:
		d.Replayable = d.Replayable || e.Kept
		if !e.Carried {
			d.Status = Pending
		}
		return nil
	case e.Time.Before(r.since):
		return nil
	case len(r.order) == maxRows:
		r.full = true
		return nil
	}
	d = &Delivery{ID: e.ID, Time: e.Time, Subject: e.Subject, Size: e.Size, Replayable: e.Kept, Status: Pending, number: e.number}
	r.byID[e.ID] = d
	r.order = append(r.order, d)
	for _, a := range e.Attempts {
		r.attempt(d, a)
	}
	return nil
}

func (r *rows) attempt(d *Delivery, a Attempt) {
	if d == nil {
		return
	}
	d.Count++
	d.Last = &a
	switch a.Result {
	case Succeeded:
		d.Status = DeliverySucceeded
	case Failed:
		d.Status = DeliveryFailed
	default:
		d.Status = Pending
	}
	if r.all {
		d.Attempts = append(d.Attempts, a)
	}
}

// look reads an endpoint's log from an entry on. Two logs at once are read; others wait.
func (c *Courier) look(ctx context.Context, e *endpoint, from uint64, r *rows) error {
	if err := c.scans.Acquire(ctx, 1); err != nil {
		return core.AsError(err)
	}
	defer c.scans.Release(1)
	if err := e.ready(ctx); err != nil {
		return err
	}
	r.byID = map[string]*Delivery{}
	return e.journal.scan(ctx, from, r.add)
}

// ready makes sure that there is a log.
func (e *endpoint) ready(ctx context.Context) error {
	if e.journal.queue() != nil && e.courier.gateway.System().Lookup(e.journal.name) != nil {
		return nil
	}
	_, err := e.journal.open(ctx)
	return err
}

// Query says which deliveries are wanted.
type Query struct {
	Status Status    // "": all
	Since  time.Time // taken in then or later
	Cursor string    // "": from the oldest on
	Limit  int       // at least 1
}

// Deliveries lists deliveries in the order in which they were taken in; next is the cursor of those behind, "" when there are none. A page may have fewer than the limit
// although there are more. CodeInvalid, CodeNotFound, CodePermissionDenied.
func (c *Courier) Deliveries(ctx context.Context, bus *core.Bus, name string, q Query) (page []Delivery, next string, err error) {
	e, err := c.find(bus, name)
	if err != nil {
		return nil, "", err
	}
	from, err := place(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	r := &rows{since: q.Since}
	if err := c.look(ctx, e, from, r); err != nil {
		return nil, "", err
	}
	page = make([]Delivery, 0, min(q.Limit, len(r.order)))
	for _, d := range r.order {
		if q.Status != anyStatus && d.Status != q.Status {
			continue
		}
		if len(page) == q.Limit {
			return page, strconv.FormatUint(page[len(page)-1].number+1, 10), nil
		}
		page = append(page, *d)
	}
	if r.full {
		next = strconv.FormatUint(r.order[len(r.order)-1].number+1, 10)
	}
	return page, next, nil
}

// place reads a cursor: the number of an entry.
func place(cursor string) (uint64, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(cursor, 10, 63)
	if err != nil {
		return 0, invalid("cursor", cursor, "the cursor of an earlier page")
	}
	return n, nil
}

// Delivery returns a delivery with its attempts. CodeNotFound, also when the log does not have it any more.
func (c *Courier) Delivery(ctx context.Context, bus *core.Bus, name, id string) (Delivery, error) {
	e, err := c.find(bus, name)
	if err != nil {
		return Delivery{}, err
	}
	return c.delivery(ctx, e, id)
}

func (c *Courier) delivery(ctx context.Context, e *endpoint, id string) (Delivery, error) {
	r := &rows{only: id, all: true}
	if err := c.look(ctx, e, 0, r); err != nil {
		return Delivery{}, err
	}
	if len(r.order) == 0 {
		return Delivery{}, core.Errorf(core.CodeNotFound, "the log has no delivery %q", id)
	}
	return *r.order[0], nil
}
