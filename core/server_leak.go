package core

import (
	"fmt"
	"reflect"
	"sync"
	"unsafe"
)

// forgetStream makes the embedded server forget what it keeps of a stream that was deleted: nats-server 2.15 registers a stream's queue of direct gets in a list for its monitoring and leaves it there
// for ever, half a kilobyte for each name that a stream ever had. Who declares and deletes durable queues of new names all the time would notice in a day. The list is not exported, so this reaches into
// the server; where it is not what we know, nothing is done. TestDeletedQueuesAreForgotten fails when that happens, or when it is no longer needed.
func (e *embedded) forgetStream(account, stream string) {
	if list := e.serverQueues(); list != nil {
		list.Delete(fmt.Sprintf("[ACC:%s] stream '%s' direct gets", account, stream))
	}
}

// serverQueues is the server's list of its internal queues, nil if there is none as we know it.
func (e *embedded) serverQueues() *sync.Map {
	f := reflect.ValueOf(e.Server).Elem().FieldByName("ipQueues")
	if !f.IsValid() || f.Type() != reflect.TypeFor[sync.Map]() {
		return nil
	}
	return (*sync.Map)(unsafe.Pointer(f.UnsafeAddr())) //nolint:gosec // the type was checked
}
