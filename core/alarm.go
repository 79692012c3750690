package core

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Alarm is a reason not to accept messages now: "disk", "store". Publishers over AMQP are blocked, HTTP says 507 or 503, and /readyz tells.
type Alarm struct{ Name, Detail string }

const (
	alarmDisk  = "disk"
	alarmStore = "store"

	diskEvery  = 5 * time.Second        // between looks at a disk with plenty of room
	diskOften  = 100 * time.Millisecond // and at one that is nearly full, or has been
	diskPace   = 1 << 30                // bytes a second that a disk may be filled with
	probeEvery = time.Second
)

// alarms are the present alarms.
type alarms struct {
	refused atomic.Pointer[Error] // what publishers are told; nil: no alarm

	storeFailed chan struct{} // has an element when the store wants to be probed

	// guarded by mu
	mu      sync.Mutex
	active  []Alarm // sorted by name; replaced, never changed
	changed chan struct{}
}

func newAlarms() *alarms {
	return &alarms{changed: make(chan struct{}), storeFailed: make(chan struct{}, 1)}
}

// raise makes an alarm present, or changes its detail.
func (a *alarms) raise(name, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, there := slices.BinarySearchFunc(a.active, name, compareAlarm)
	if there && a.active[i].Detail == detail {
		return
	}
	active := slices.Clone(a.active)
	if there {
		active[i].Detail = detail
	} else {
		active = slices.Insert(active, i, Alarm{name, detail})
	}
	a.set(active)
}

// clear takes an alarm away.
func (a *alarms) clear(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, there := slices.BinarySearchFunc(a.active, name, compareAlarm); there {
		a.set(slices.Delete(slices.Clone(a.active), i, i+1))
	}
}

func compareAlarm(a Alarm, name string) int { return strings.Compare(a.Name, name) }

// set puts active in place and tells. The caller holds mu.
func (a *alarms) set(active []Alarm) {
	a.active = active
	a.refused.Store(refusalOf(active))
	close(a.changed)
	a.changed = make(chan struct{})
}

// touch wakes whoever waits for a change, for reasons other than an alarm.
func (a *alarms) touch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(a.active)
}

func refusalOf(active []Alarm) *Error {
	if len(active) == 0 {
		return nil
	}
	if active[0].Name == alarmDisk {
		return Errorf(CodeResourceExhausted, "publishing is blocked: the disk is nearly full")
	}
	return Errorf(CodeUnavailable, "publishing is blocked: the message store does not work")
}

// refusal is the error that publishers get, nil without an alarm.
func (a *alarms) refusal() error {
	if e := a.refused.Load(); e != nil {
		return e
	}
	return nil
}

// Alarms are the present alarms. The slice is shared: do not change it.
func (g *Gateway) Alarms() []Alarm {
	g.alarms.mu.Lock()
	defer g.alarms.mu.Unlock()
	return g.alarms.active
}

// AlarmsChanged returns a channel that is closed at the next change of Alarms or Ready.
func (g *Gateway) AlarmsChanged() <-chan struct{} {
	g.alarms.mu.Lock()
	defer g.alarms.mu.Unlock()
	return g.alarms.changed
}

// storeFailed is told of every error of the log store. It must not block.
func (g *Gateway) storeFailed(err error) {
	if g.ctx.Err() != nil {
		return // the connections are being closed by ourselves
	}
	g.log.Error("message store failed", "err", err)
	g.alarms.raise(alarmStore, err.Error())
	select {
	case g.alarms.storeFailed <- struct{}{}:
	default:
	}
}

// alarmLoop watches the disk, and probes the store after it failed until it works again.
func (g *Gateway) alarmLoop(ctx context.Context) {
	disk := time.NewTimer(diskOften)
	defer disk.Stop()
	probe := time.NewTimer(time.Hour)
	probe.Stop()
	failing := false // a probe is due: more failures do not put it off
	for {
		select {
		case <-ctx.Done():
			return
		case <-disk.C:
			disk.Reset(g.watchDisk())
		case <-g.alarms.storeFailed:
			if !failing {
				failing = true
				probe.Reset(probeEvery)
			}
		case <-probe.C:
			if err := g.mend(ctx); err != nil {
				g.alarms.raise(alarmStore, err.Error())
				probe.Reset(probeEvery)
				continue
			}
			failing = false
			g.log.Info("message store works again")
			g.alarms.clear(alarmStore)
		}
	}
}

// watchDisk raises or clears the disk's alarm, and returns when to look again: long before the disk can be filled from where it stands.
func (g *Gateway) watchDisk() (again time.Duration) {
	if g.cfg.DiskFree < 0 {
		return diskEvery
	}
	free, err := freeBytes(g.dir.path)
	switch {
	case err != nil:
		g.log.Warn("cannot tell how full the disk is", "err", err)
		return diskEvery
	case free < g.cfg.DiskFree:
		g.alarms.raise(alarmDisk, fmt.Sprintf("fewer than %d bytes are free", g.cfg.DiskFree))
	default:
		g.alarms.clear(alarmDisk)
	}
	seconds := max(free-g.cfg.DiskFree, 0) / diskPace
	return min(max(time.Duration(seconds)*time.Second/2, diskOften), diskEvery)
}
