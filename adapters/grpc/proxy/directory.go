package proxy

import (
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// kind says how a method is called.
type kind uint8

const (
	unknown   kind = iota // no server of this gateway has named it
	unary                 // one message, one answer: a request on the bus
	streaming             // anything else, and whatever is not known to be unary: a session
)

// description is what a server serves.
type description struct {
	services map[string]methods
	files    *protoregistry.Files // nil: not known
	others   bool                 // also what nobody has named
}

// methods of a service by name; nil: all that are called are the server's, of which kind is not known.
type methods map[string]kind

func (d *description) kind(service, method string) kind {
	m, ok := d.services[service]
	switch {
	case !ok:
		return unknown
	case m == nil:
		return streaming
	}
	return m[method]
}

// patterns are the subjects of all that is served.
func (d *description) patterns() (all []string) {
	for _, service := range slices.Sorted(maps.Keys(d.services)) {
		if d.services[service] == nil {
			all = append(all, subjects+service+".*")
		}
		for _, method := range slices.Sorted(maps.Keys(d.services[service])) {
			all = append(all, subjects+service+"."+method)
		}
	}
	if d.others {
		all = append(all, others+">")
	}
	return all
}

// marks are the subjects that say which methods are called by sessions, for gateways whose directory does not know it. Nothing is published there.
func (d *description) marks() (all []string) {
	for service, methods := range d.services {
		if methods == nil {
			all = append(all, marks+service+".*")
		}
		for method, kind := range methods {
			if kind == streaming {
				all = append(all, marks+service+"."+method)
			}
		}
	}
	return all
}

// directory knows the servers that are connected to this gateway.
type directory struct {
	serving func(service string, serving bool) // tells of the first server of a service, and of the last that goes

	// guarded by mu
	mu      sync.RWMutex
	servers []*server            // in the order they came
	by      map[string][]*server // by service
}

func newDirectory(serving func(string, bool)) *directory {
	return &directory{serving: serving, by: map[string][]*server{}}
}

func (d *directory) add(s *server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers = append(d.servers, s)
	for service := range s.served.services {
		d.by[service] = append(d.by[service], s)
		if len(d.by[service]) == 1 {
			d.serving(service, true)
		}
	}
}

func (d *directory) remove(s *server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.servers, s)
	if i < 0 {
		return
	}
	d.servers = slices.Delete(d.servers, i, i+1)
	for service := range s.served.services {
		left := slices.DeleteFunc(d.by[service], func(other *server) bool { return other == s })
		d.by[service] = left
		if len(left) == 0 {
			delete(d.by, service)
			d.serving(service, false)
		}
	}
}

// kind is the kind of a method. Where servers differ, the way that works for all.
func (d *directory) kind(service, method string) (k kind) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.by[service] {
		k = max(k, s.served.kind(service, method))
	}
	return k
}

// GetServiceInfo implements reflection.ServiceInfoProvider for the services whose descriptors are known.
func (d *directory) GetServiceInfo() map[string]grpc.ServiceInfo {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := map[string]grpc.ServiceInfo{}
	for service, servers := range d.by {
		if slices.ContainsFunc(servers, func(s *server) bool { return s.served.describes(service) }) {
			out[service] = grpc.ServiceInfo{}
		}
	}
	return out
}

func (d *description) describes(service string) bool {
	if d.files == nil {
		return false
	}
	_, err := d.files.FindDescriptorByName(protoreflect.FullName(service))
	return err == nil
}

// FindFileByPath implements protodesc.Resolver: the first server's that has it.
func (d *directory) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	return find(d, func(files *protoregistry.Files) (protoreflect.FileDescriptor, error) {
		return files.FindFileByPath(path)
	})
}

// FindDescriptorByName implements protodesc.Resolver.
func (d *directory) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	return find(d, func(files *protoregistry.Files) (protoreflect.Descriptor, error) {
		return files.FindDescriptorByName(name)
	})
}

func find[T any](d *directory, look func(*protoregistry.Files) (T, error)) (found T, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.servers {
		if s.served.files == nil {
			continue
		}
		if found, err = look(s.served.files); err == nil {
			return found, nil
		}
	}
	return found, protoregistry.NotFound
}
