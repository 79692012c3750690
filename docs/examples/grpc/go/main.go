// Command go shows Portico's Go client for gRPC: publish and subscribe, request and reply, work from a queue.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"portico/adapters/grpc/client"
	porticov1 "portico/proto/portico/v1"
)

func main() {
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := run(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address string) error {
	c, err := client.Connect(address)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, show := range []func(context.Context, *client.Client) error{publishAndSubscribe, requestAndServe, work} {
		if err := show(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func publishAndSubscribe(ctx context.Context, c *client.Client) error {
	s, err := c.Subscribe(ctx, "go.greetings.*")
	if err != nil {
		return err
	}
	defer s.Stop()
	receipt, err := c.Publish(ctx, &client.Message{Subject: "go.greetings.you", Data: []byte("hello")}, client.MsgID(client.NewID()))
	if err != nil {
		return err
	}
	fmt.Println("published, somebody listens:", receipt.Live)
	m, err := s.Next(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("received %s on %s\n", m.Data, m.Subject)
	return nil
}

func requestAndServe(ctx context.Context, c *client.Client) error {
	service, err := c.Serve(ctx, "go.double", func(_ context.Context, m *client.Message) *client.Message {
		return &client.Message{Data: append(m.Data, m.Data...)}
	}, client.Group("doublers"))
	if err != nil {
		return err
	}
	defer service.Stop()
	answer, err := c.Request(ctx, &client.Message{Subject: "go.double", Data: []byte("ab")})
	if err != nil {
		return err
	}
	fmt.Printf("answered %s\n", answer.Data)
	return nil
}

func work(ctx context.Context, c *client.Client) error {
	api := porticov1.NewPorticoServiceClient(c.Conn())
	if _, err := api.DeclareQueue(ctx, &porticov1.DeclareQueueRequest{Queue: &porticov1.Queue{Name: "go.jobs", Durable: true}}); err != nil {
		return err
	}
	if _, err := api.Bind(ctx, &porticov1.BindRequest{Queue: "go.jobs", Pattern: "go.jobs.*"}); err != nil {
		return err
	}
	for _, job := range []string{"one", "two", "three"} {
		if _, err := c.Publish(ctx, &client.Message{Subject: "go.jobs.new", Data: []byte(job)}); err != nil {
			return err
		}
	}
	consumer, err := c.Consume(ctx, "go.jobs", client.Credit(2), client.Lease(time.Minute))
	if err != nil {
		return err
	}
	defer consumer.Stop()
	for range 3 {
		d, err := consumer.Next(ctx)
		if err != nil {
			return err
		}
		if err := d.Ack(ctx); err != nil {
			return err
		}
		fmt.Printf("done %s\n", d.Data)
	}
	return nil
}
