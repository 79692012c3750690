package grpcapi

import (
	"errors"
	"log/slog"
	"maps"

	"portico/adapters/grpc/proxy"
	"portico/core"
	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// NewWithProxy is New for a door that also carries the calls of methods it does not implement itself, to the servers that are connected. Both the adapter and the proxy must be served,
// by whoever runs the gateway's adapters: they end together.
func NewWithProxy(cfg Config, carry proxy.Config, g *core.Gateway, log *slog.Logger) (*Adapter, *proxy.Proxy, error) {
	a, err := listen(cfg, g, log)
	if err != nil {
		return nil, nil, err
	}
	carry.Status = toStatus
	carry.Serving = a.serving
	p, err := proxy.New(carry, g, log)
	if err != nil {
		a.drain()
		return nil, nil, errors.Join(err, a.listener.Close())
	}
	if err := a.register(grpc.UnknownServiceHandler(carryCall(p))); err != nil {
		return nil, nil, err
	}
	relayv1.RegisterRelayServiceServer(a.server, p.RelayService(busOf))
	a.reflect(p)
	return a, p, nil
}

// carryCall hands the proxy what the door does not know.
func carryCall(p *proxy.Proxy) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		bus, ok := stream.Context().Value(busKey{}).(*core.Bus)
		if !ok { // a method that nobody has of a service that asks for no login
			return core.Errorf(core.CodeUnimplemented, "unknown method")
		}
		return p.Handle(bus, stream)
	}
}

// serving keeps the health service true to the servers of other services.
func (a *Adapter) serving(service string, serving bool) {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		status = healthv1.HealthCheckResponse_SERVING
	}
	a.health.SetServingStatus(service, status)
}

// reflect shows the door's own services and those of the servers that have told their descriptors.
func (a *Adapter) reflect(p *proxy.Proxy) {
	options := reflection.ServerOptions{
		Services:           services{a.server, p.Directory()},
		DescriptorResolver: descriptors{protoregistry.GlobalFiles, p.Directory()},
	}
	reflectionv1.RegisterServerReflectionServer(a.server, reflection.NewServerV1(options))
	reflectionv1alpha.RegisterServerReflectionServer(a.server, reflection.NewServer(options))
}

// services are those of several providers.
type services []reflection.ServiceInfoProvider

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (s services) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := map[string]grpc.ServiceInfo{}
	for _, provider := range s {
		maps.Copy(all, provider.GetServiceInfo())
	}
	return all
}

// descriptors looks in several places, in order.
type descriptors []protodesc.Resolver

// FindFileByPath implements protodesc.Resolver.
func (d descriptors) FindFileByPath(path string) (found protoreflect.FileDescriptor, err error) {
	err = protoregistry.NotFound
	for _, resolver := range d {
		if found, err = resolver.FindFileByPath(path); err == nil {
			return found, nil
		}
	}
	return nil, err
}

// FindDescriptorByName implements protodesc.Resolver.
func (d descriptors) FindDescriptorByName(name protoreflect.FullName) (found protoreflect.Descriptor, err error) {
	err = protoregistry.NotFound
	for _, resolver := range d {
		if found, err = resolver.FindDescriptorByName(name); err == nil {
			return found, nil
		}
	}
	return nil, err
}
