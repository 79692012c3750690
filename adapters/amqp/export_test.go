package amqp

// RaiseForTest raises an alarm as the gateway would, and returns a function that clears it.
func (a *Adapter) RaiseForTest(reason string) (clear func()) {
	al := &alarm{reason: reason, cleared: make(chan struct{})}
	a.alarm.Store(al)
	return func() {
		a.alarm.Store(nil)
		close(al.cleared)
	}
}
