// Declares exchanges, binds them, publishes to them, and takes what came to the queues.
package main

import (
	"context"
	"math"
	"slices"
	"sort"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// routing is what the command route has beside its messages.
type routing struct {
	Exchanges []exchange `json:"exchanges"`
	Names     []string   `json:"queue_names"`
	Bindings  []binding  `json:"bindings"`
	// QueueArguments are by queue.
	QueueArguments map[string]map[string]any `json:"queue_arguments"`
	RejectQueues   []string                  `json:"reject_queues"`
	WaitMs         int64                     `json:"wait_ms"`
	LookedFor      []string                  `json:"looked_for"`
}

type exchange struct {
	Name      string  `json:"name"`
	Kind      string  `json:"kind"`
	Alternate *string `json:"alternate"`
	Internal  bool    `json:"internal"`
}

type binding struct {
	Source    string         `json:"source"`
	Queue     string         `json:"queue"`
	Exchange  string         `json:"exchange"`
	Key       string         `json:"key"`
	Arguments map[string]any `json:"arguments"`
}

type routedMessage struct {
	Text    string   `json:"text"`
	Headers []string `json:"headers"`
	Deaths  []death  `json:"deaths"`
	// Expiration is empty where there is none.
	Expiration string `json:"expiration"`
}

type death struct {
	Queue      any `json:"queue"`
	Reason     any `json:"reason"`
	Count      any `json:"count"`
	Exchange   any `json:"exchange"`
	Keys       any `json:"keys"`
	Expiration any `json:"expiration"`
}

// table makes whole numbers integers: JSON has only one kind.
func table(values map[string]any) amqp.Table {
	made := amqp.Table{}
	for name, value := range values {
		if number, ok := value.(float64); ok && number == math.Trunc(number) {
			made[name] = int64(number)
		} else {
			made[name] = value
		}
	}
	return made
}

func (d *driver) route(ctx context.Context, c *command) (any, error) {
	connection, err := dial(d.address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return nil, err
	}
	if err := declareRoutes(channel, c); err != nil {
		return nil, err
	}
	returned, nacked, err := publishToExchanges(ctx, channel, c.Messages)
	if err != nil {
		return nil, err
	}
	for _, queue := range c.RejectQueues {
		if err := reject(channel, queue); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Duration(c.WaitMs) * time.Millisecond)
	missing := []string{}
	for _, queue := range c.LookedFor {
		if !isThere(connection, queue) {
			missing = append(missing, queue)
		}
	}
	queues := map[string][]routedMessage{}
	for _, queue := range c.Names {
		if slices.Contains(missing, queue) {
			continue
		}
		if queues[queue], err = taken(channel, queue); err != nil {
			return nil, err
		}
	}
	return object{"queues": queues, "returned": returned, "nacked": nacked, "missing": missing}, nil
}

func declareRoutes(channel *amqp.Channel, c *command) error {
	for _, e := range c.Exchanges {
		arguments := amqp.Table{}
		if e.Alternate != nil {
			arguments["alternate-exchange"] = *e.Alternate
		}
		if err := channel.ExchangeDeclare(e.Name, e.Kind, true, false, e.Internal, false, arguments); err != nil {
			return err
		}
	}
	for _, queue := range c.Names {
		if _, err := channel.QueueDeclare(queue, true, false, false, false, table(c.QueueArguments[queue])); err != nil {
			return err
		}
	}
	for _, b := range c.Bindings {
		var err error
		if b.Queue != "" {
			err = channel.QueueBind(b.Queue, b.Key, b.Source, false, table(b.Arguments))
		} else {
			err = channel.ExchangeBind(b.Exchange, b.Key, b.Source, false, table(b.Arguments))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func publishToExchanges(ctx context.Context, channel *amqp.Channel, messages []outgoingMessage) (returned, nacked []string, err error) {
	back := channel.NotifyReturn(make(chan amqp.Return, len(messages)))
	if err := channel.Confirm(false); err != nil {
		return nil, nil, err
	}
	returned, nacked = []string{}, []string{}
	for _, message := range messages {
		publishing := amqp.Publishing{Headers: table(message.Headers), DeliveryMode: amqp.Persistent, Expiration: message.Expiration, Priority: message.Priority, Body: []byte(message.Text)}
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, message.Exchange, message.Key, true, false, publishing)
		if err != nil {
			return nil, nil, err
		}
		acked, err := confirmation.WaitContext(ctx)
		if err != nil {
			return nil, nil, err
		}
		if !acked {
			nacked = append(nacked, message.Text)
		}
		// A return comes before its confirm.
		select {
		case message := <-back:
			returned = append(returned, string(message.Body))
		default:
		}
	}
	return returned, nacked, nil
}

func reject(channel *amqp.Channel, queue string) error {
	for {
		delivery, ok, err := channel.Get(queue, false)
		if err != nil || !ok {
			return err
		}
		if err := delivery.Reject(false); err != nil {
			return err
		}
	}
}

func isThere(connection *amqp.Connection, queue string) bool {
	channel, err := connection.Channel()
	if err != nil {
		return false
	}
	defer channel.Close()
	_, err = channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	return err == nil
}

// deathsOf reads the header x-death.
func deathsOf(headers amqp.Table) []death {
	deaths := []death{}
	all, _ := headers["x-death"].([]any)
	for _, one := range all {
		if d, ok := one.(amqp.Table); ok {
			deaths = append(deaths, death{
				d["queue"], d["reason"], d["count"], d["exchange"], d["routing-keys"], d["original-expiration"],
			})
		}
	}
	return deaths
}

func taken(channel *amqp.Channel, queue string) ([]routedMessage, error) {
	found := []routedMessage{}
	for {
		delivery, ok, err := channel.Get(queue, true)
		if err != nil || !ok {
			return found, err
		}
		names := []string{}
		for name := range delivery.Headers {
			names = append(names, name)
		}
		sort.Strings(names)
		found = append(found, routedMessage{string(delivery.Body), names, deathsOf(delivery.Headers), delivery.Expiration})
	}
}
