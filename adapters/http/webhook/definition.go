package webhook

import (
	"encoding/json"
	"fmt"
	"time"
)

// definition is an endpoint as its table keeps it. Immutable once it is in use: a change makes another.
type definition struct {
	Spec
	Name     string    `json:"name"`
	Owner    string    `json:"owner"` // tells it from an earlier endpoint of that name
	Secrets  []secret  `json:"secrets"`
	Disabled bool      `json:"disabled,omitempty"`
	Reason   string    `json:"reason,omitempty"` // why it is disabled
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

// queueOf and logOf name an endpoint's queues. A name has no dot, so that none is another's.
func queueOf(name string) string { return "webhook." + name }
func logOf(name string) string   { return "webhook." + name + ".log" }

func (d *definition) encode() ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode webhook %q: %w", d.Name, err)
	}
	return text, nil
}

func decodeDefinition(text []byte) (*definition, error) {
	d := &definition{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("decode webhook: %w", err)
	}
	return d, nil
}

// limit is how many requests may be under way at once.
func (d *definition) limit() int {
	if d.Ordered {
		return 1
	}
	return d.Concurrency
}

// backlog is how many messages are taken from the queue before their turn has come.
func (d *definition) backlog() int { return max(32, 2*d.limit()) }

// Endpoint is an endpoint as its users see it.
type Endpoint struct {
	Name string `json:"name"`
	Spec
	Queue          string    `json:"queue"`
	State          State     `json:"state" enum:"active,held,paused,disabled,stopped"`
	DisabledReason string    `json:"disabled_reason,omitempty"`
	Until          time.Time `json:"until,omitzero" doc:"When a pause, or what the receiver asked for, is over"`
	Ready          int       `json:"ready" doc:"Messages in the queue that have not been taken up"`
	Waiting        int       `json:"waiting" doc:"Messages that wait for their next attempt"`
	Running        int       `json:"running" doc:"Requests under way"`
	Secrets        int       `json:"secrets" doc:"Secrets that sign"`
	Rotated        time.Time `json:"rotated,omitzero" doc:"When the secret before stops to sign"`
	Created        time.Time `json:"created"`
	Updated        time.Time `json:"updated"`
}

// State is what an endpoint does.
type State string

// The states.
const (
	Active   State = "active"
	Held     State = "held"     // the receiver has asked to be left alone (Retry-After)
	Paused   State = "paused"   // it has failed too often in a row
	Disabled State = "disabled" // by a user, by 410, or because its queue was deleted
	Stopped  State = "stopped"  // the gateway is not, or no longer, delivering
)

// view is d with where it stands.
func (d *definition) view(s status, now time.Time) Endpoint {
	e := Endpoint{
		Name: d.Name, Spec: d.Spec, Queue: queueOf(d.Name), State: s.state, Until: s.until, Waiting: s.waiting, Running: s.running,
		Secrets: len(living(d.Secrets, now)), Created: d.Created, Updated: d.Updated,
	}
	for _, x := range living(d.Secrets, now) {
		if x.Until.After(e.Rotated) {
			e.Rotated = x.Until
		}
	}
	if !e.Until.After(now) {
		e.Until = time.Time{}
		if s.state != Stopped {
			e.State = Active
		}
	}
	if d.Disabled {
		e.State, e.DisabledReason, e.Until = Disabled, d.Reason, time.Time{}
	}
	return e
}
