package httpapi

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// giveBackTime is how long what a client did not take may need to go back; then its lease brings it back.
const giveBackTime = 10 * time.Second

// lentMessage is a message of a fetch.
type lentMessage struct {
	Token   string `json:"token" doc:"What settles it"`
	Attempt uint64 `json:"attempt" doc:"How often it has been lent, this time included"`
	Pending uint64 `json:"pending" doc:"Messages behind it for this consumer"`
	stored
}

// lentList is the answer to a fetch.
type lentList struct {
	Messages []lentMessage `json:"messages"`
}

// leaseOf says what tokens of this request are bound to.
func (a *Adapter) leaseOf(c *gin.Context) (lease, error) {
	key, err := a.rest.tickets.sealing(c.Request.Context(), a.gateway.System())
	return lease{key, busOf(c).Tenant(), busOf(c).User(), c.Param("stream"), c.Param("consumer")}, err
}

// fetchLent: POST /v1/streams/{stream}/consumers/{consumer}/fetch. What the client has not taken, because it went meanwhile, goes back at once.
func (a *Adapter) fetchLent(c *gin.Context) {
	raw := c.Query("raw") == "1" || wants(c, "application/octet-stream")
	most := int(whole(c, "max", 10))
	if raw {
		most = 1
	}
	wait, err := duration(c, "wait", 0, 0, maxWait)
	if err != nil {
		a.fail(c, err)
		return
	}
	// net/http notices that the client has gone only when the request's body has been read.
	_, release, err := a.readBody(c, maxControl)
	if err != nil {
		a.fail(c, err)
		return
	}
	release()
	l, err := a.leaseOf(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := a.untilDrain(c)
	defer cancel()
	lent, err := busOf(c).Fetch(ctx, l.stream, l.consumer, most, int(whole(c, "max_bytes", fetchBytes)), wait)
	switch {
	case err != nil:
		a.fail(c, err)
	case c.Request.Context().Err() != nil:
		a.giveBack(c, lent)
	case raw:
		a.writeLentRaw(c, l, lent)
	default:
		a.writeLent(c, l, lent)
	}
}

func (a *Adapter) writeLent(c *gin.Context, l lease, lent []core.Lent) {
	for i := range lent {
		a.lentOut(&lent[i])
	}
	err := writeArray(c, "messages", len(lent), func(i int) any {
		return lentMessage{Token: l.seal(lent[i].Ticket), Attempt: lent[i].Attempt, Pending: lent[i].Pending, stored: storedOf(&lent[i].StoredMessage)}
	}, "")
	if err != nil {
		a.giveBack(c, lent)
	}
}

// writeLentRaw writes one message as the body, with what else there is to say in headers; 204 when there is none.
func (a *Adapter) writeLentRaw(c *gin.Context, l lease, lent []core.Lent) {
	if len(lent) == 0 {
		a.done(c, nil)
		return
	}
	m := &lent[0]
	a.lentOut(m)
	c.Header("Portico-Token", l.seal(m.Ticket))
	c.Header("Portico-Attempt", strconv.FormatUint(m.Attempt, 10))
	c.Header("Portico-Redelivered", strconv.FormatBool(m.Attempt > 1))
	a.rawStored(c, &m.StoredMessage)
}

// lentOut counts a message that goes out.
func (a *Adapter) lentOut(m *core.Lent) {
	if m.Attempt > 1 {
		a.metrics.Redeliveries.Inc()
	}
}

// giveBack returns what was fetched for a client that is not there any more.
func (a *Adapter) giveBack(c *gin.Context, lent []core.Lent) {
	if len(lent) == 0 {
		return
	}
	tickets := make([]string, len(lent))
	for i := range lent {
		tickets[i] = lent[i].Ticket
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), giveBackTime)
	defer cancel()
	for _, err := range busOf(c).SettleAllLent(ctx, tickets, core.StreamNak, 0) {
		if err != nil {
			a.log.Debug("a message comes back when its lease has run out", "door", door, "stream", c.Param("stream"), "err", err)
		}
	}
}

// lentSettlement is the body of ack, nack, term and extend.
type lentSettlement struct {
	Tokens []string `json:"tokens" required:"true" doc:"Of a fetch, 1 to 1000" minItems:"1" maxItems:"1000"`
}

// lentNack is that of nack.
type lentNack struct {
	lentSettlement
	Delay millis `json:"delay,omitempty" doc:"Milliseconds until they are delivered again" minimum:"0" maximum:"315360000000"`
}

// settleLent makes the handler of ack, term and extend.
func (a *Adapter) settleLent(what core.StreamOutcome) gin.HandlerFunc {
	return func(c *gin.Context) {
		var body lentSettlement
		if err := a.readJSON(c, &body); err != nil {
			a.fail(c, err)
			return
		}
		a.settleTokens(c, body.Tokens, what, 0)
	}
}

// nackLent: POST …/nack.
func (a *Adapter) nackLent(c *gin.Context) {
	var body lentNack
	err := a.readJSON(c, &body)
	var k checks
	if k.time("delay", body.Delay); err == nil {
		err = k.err
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	a.settleTokens(c, body.Tokens, core.StreamNak, body.Delay.duration())
}

// settleTokens answers when the stream has every settlement, as settle does for queues.
func (a *Adapter) settleTokens(c *gin.Context, tokens []string, what core.StreamOutcome, delay time.Duration) {
	if len(tokens) == 0 || len(tokens) > maxFetch {
		a.fail(c, badField("body.tokens", fmt.Sprintf("1 to %d", maxFetch), strconv.Itoa(len(tokens))))
		return
	}
	l, err := a.leaseOf(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	errs := make([]error, len(tokens))
	var tickets []string
	var places []int // of the tickets among the tokens
	for i, token := range tokens {
		ticket, err := l.open(token)
		if errs[i] = err; err == nil {
			tickets, places = append(tickets, ticket), append(places, i)
		}
	}
	if len(tickets) > 0 {
		for i, err := range busOf(c).SettleAllLent(c.Request.Context(), tickets, what, delay) {
			errs[places[i]] = err
		}
	}
	if c.Request.Context().Err() != nil {
		return // nobody is there to be told
	}
	if what == core.StreamAck {
		a.metrics.Acks.Add(float64(successes(errs)))
	}
	a.results(c, tokens, errs)
}
