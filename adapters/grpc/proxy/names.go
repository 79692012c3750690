package proxy

import "strings"

const (
	// subjects begins the subject of every method: grpc.<package.Service>.<Method>.
	subjects = "grpc."
	// others begins the subject of methods that no server has named, for the servers that take those.
	others = "grpc-others."
	// marks begins the subjects that are subscribed to where a method is served by sessions.
	marks = inboxes + ".streams."
	// group is the queue group of all servers: one of them gets each call.
	group = "portico-grpc"
)

// maxName bounds the name of a service and that of a method, in bytes.
const maxName = 512

// splitPath splits a method's path, /package.Service/Method. ok: both are names as protobuf has them.
func splitPath(path string) (service, method string, ok bool) {
	rest, slash := strings.CutPrefix(path, "/")
	service, method, cut := strings.Cut(rest, "/")
	return service, method, slash && cut && isService(service) && isWord(method)
}

// pathOf is the path of the method whose subject this is, either kind of it.
func pathOf(subject string) (path string, ok bool) {
	rest, named := strings.CutPrefix(subject, subjects)
	if !named {
		if rest, ok = strings.CutPrefix(subject, others); !ok {
			return "", false
		}
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return "", false
	}
	path = "/" + rest[:dot] + "/" + rest[dot+1:]
	_, _, ok = splitPath(path)
	return path, ok
}

func isService(name string) bool {
	if len(name) > maxName {
		return false
	}
	for word := range strings.SplitSeq(name, ".") {
		if !isWord(word) {
			return false
		}
	}
	return true
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// reserved tells services that are the gateway's own: nobody else may serve them.
func reserved(service string) bool {
	for _, prefix := range []string{"portico.", "grpc.health.", "grpc.reflection."} {
		if strings.HasPrefix(service, prefix) {
			return true
		}
	}
	return false
}
