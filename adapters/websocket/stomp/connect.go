package stomp

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"portico/core"
)

// beats are the agreed times between heart-beats, in nanoseconds; 0: none.
type beats struct{ out, in atomic.Int64 }

// connect acts on CONNECT. The header host is not looked at: there is one virtual host.
func (s *Session) connect(f *Frame) error {
	version, err := choose(f)
	if err != nil {
		return err
	}
	theirs, wanted, err := heartBeat(f)
	if err != nil {
		return err
	}
	bus, err := s.login(f)
	if err != nil {
		return err
	}
	if s.leave, err = bus.Connect(); err != nil {
		return err
	}
	if !s.timer.Stop() {
		return core.Errorf(core.CodeTimeout, "no CONNECT in time")
	}
	s.bus = bus
	s.unfollow = bus.AfterEnd(func() { s.fail("", bus.Err()) }) // what the client has shown is good no longer
	s.version.Store(uint32(version))
	s.in.Speak(version)
	ours := strconv.FormatInt(leastBeat.Milliseconds(), 10)
	s.out.Push(item{frame: &Frame{Command: "CONNECTED", Fields: []Field{
		{"version", version.String()}, {"session", s.id}, {"server", "Portico"}, {"heart-beat", ours + "," + ours},
	}}})
	if wanted > 0 {
		s.beats.out.Store(int64(max(wanted, leastBeat)))
	}
	if theirs > 0 {
		s.beats.in.Store(int64(max(theirs, leastBeat)))
	}
	s.stir()
	return nil
}

// choose takes the highest version that both speak. Whoever names none speaks 1.0.
func choose(f *Frame) (Version, error) {
	text, there := f.Lookup("accept-version")
	if !there {
		return V10, nil
	}
	best, found := V10, false
	for word := range strings.SplitSeq(text, ",") {
		for _, v := range []Version{V10, V11, V12} {
			if strings.TrimSpace(word) == v.String() {
				best, found = max(best, v), true
			}
		}
	}
	if !found {
		return 0, core.Errorf(core.CodeInvalid, "none of the versions %.64q is spoken here: 1.0, 1.1, 1.2", text)
	}
	return best, nil
}

// heartBeat reads how often the client can send something, and how often it wants something; 0: not at all.
func heartBeat(f *Frame) (theirs, wanted time.Duration, err error) {
	text, there := f.Lookup("heart-beat")
	if !there {
		return 0, 0, nil
	}
	can, want, _ := strings.Cut(text, ",")
	x, bad := strconv.ParseUint(strings.TrimSpace(can), 10, 31)
	y, worse := strconv.ParseUint(strings.TrimSpace(want), 10, 31)
	if bad != nil || worse != nil {
		return 0, 0, core.Errorf(core.CodeInvalid, "heart-beat %.64q: want two numbers of milliseconds", text)
	}
	return time.Duration(x) * time.Millisecond, time.Duration(y) * time.Millisecond, nil
}

// login checks login and passcode, or else what the connection has shown. A passcode may be a token.
func (s *Session) login(f *Frame) (*core.Bus, error) {
	user, named := f.Lookup("login")
	c := core.Credentials{Anonymous: true}
	if s.client.Shown != nil {
		c = s.client.Shown()
	}
	if password := f.Get("passcode"); named && (user != "" || password != "") {
		c = core.Credentials{User: user, Password: password, Tenant: c.Tenant}
	}
	c.Door, c.Remote = door, s.client.Remote
	if host := f.Get("host"); s.server.gateway.HasTenant(host) { // others put the name of the machine there, as STOMP 1.2 has it
		c.Tenant = host
	}
	return s.server.gateway.Login(s.ctx, c)
}

// disconnect waits until everything is done, and says so.
func (s *Session) disconnect(f *Frame) error {
	if err := s.window.Acquire(s.ctx, windowBytes); err != nil {
		return err
	}
	s.window.Release(windowBytes)
	s.receipt(f)(nil)
	return nil
}
