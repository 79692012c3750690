package core

import "strings"

// KeepsServerQueue tells whether the embedded server's list of its internal queues has one of a stream whose name begins so.
func (g *Gateway) KeepsServerQueue(stream string) (keeps bool) {
	list := g.server.serverQueues()
	if list == nil {
		return false
	}
	list.Range(func(name, _ any) bool {
		text, _ := name.(string)
		keeps = keeps || strings.Contains(text, "stream '"+stream)
		return !keeps
	})
	return keeps
}
