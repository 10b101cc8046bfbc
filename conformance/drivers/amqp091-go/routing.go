// Declares exchanges, binds them, publishes to them, and takes what came to the queues.
package main

import (
	"context"
	"math"
	"sort"

	amqp "github.com/rabbitmq/amqp091-go"
)

// routing is what the command route has beside its messages.
type routing struct {
	Exchanges []exchange `json:"exchanges"`
	Names     []string   `json:"queue_names"`
	Bindings  []binding  `json:"bindings"`
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
	returned, err := publishToExchanges(ctx, channel, c.Messages)
	if err != nil {
		return nil, err
	}
	queues := map[string][]routedMessage{}
	for _, queue := range c.Names {
		if queues[queue], err = taken(channel, queue); err != nil {
			return nil, err
		}
	}
	return object{"queues": queues, "returned": returned}, nil
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
		if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
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

func publishToExchanges(ctx context.Context, channel *amqp.Channel, messages []outgoingMessage) ([]string, error) {
	back := channel.NotifyReturn(make(chan amqp.Return, len(messages)))
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	returned := []string{}
	for _, message := range messages {
		publishing := amqp.Publishing{Headers: table(message.Headers), DeliveryMode: amqp.Persistent, Body: []byte(message.Text)}
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, message.Exchange, message.Key, true, false, publishing)
		if err != nil {
			return nil, err
		}
		if _, err := confirmation.WaitContext(ctx); err != nil {
			return nil, err
		}
		// A return comes before its confirm.
		select {
		case message := <-back:
			returned = append(returned, string(message.Body))
		default:
		}
	}
	return returned, nil
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
		found = append(found, routedMessage{string(delivery.Body), names})
	}
}
