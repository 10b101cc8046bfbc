import com.google.gson.JsonObject;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.MessageProperties;
import java.util.List;
import java.util.Map;

/** Declares and publishes, with confirms and without. */
final class Producing {
    private static final long CONFIRM_MS_MAX = 10_000;

    private Connection connection;
    private Channel confirming;
    private Load load;

    Object declare(JsonObject command) throws Exception {
        AmqpMessage.checkTopic(command);
        channel().queueDeclare(command.get("topic").getAsString(), true, false, false, null);
        return Map.of();
    }

    Object send(JsonObject command) throws Exception {
        List<AmqpMessage> messages = AmqpMessage.of(command.getAsJsonArray("messages"));
        String topic = command.get("topic").getAsString();
        String mode = command.get("mode").getAsString();
        switch (mode) {
            case "sync":
                for (AmqpMessage message : messages) {
                    publish(channel(), topic, message, true);
                    confirming.waitForConfirmsOrDie(CONFIRM_MS_MAX);
                }
                break;
            case "async":
                for (AmqpMessage message : messages) {
                    publish(channel(), topic, message, true);
                }
                confirming.waitForConfirmsOrDie(CONFIRM_MS_MAX);
                break;
            case "oneway":
                channel(); // for its connection
                Channel plain = connection.createChannel();
                for (AmqpMessage message : messages) {
                    publish(plain, topic, message, false);
                }
                plain.close();
                return Map.of("receipts", List.of());
            default:
                throw new Lines.Unsupported("the client has no " + mode + " publish");
        }
        return Map.of("receipts", messages.stream().map(message -> Map.of()).toList());
    }

    private static void publish(Channel channel, String topic, AmqpMessage message, boolean mandatory) throws Exception {
        AMQP.BasicProperties.Builder properties = MessageProperties.MINIMAL_PERSISTENT_BASIC.builder().headers(message.headers);
        channel.basicPublish("", topic, mandatory, properties.messageId(message.key).build(), message.body);
    }

    /** The channel that confirms, opened again if the broker closed it for an error. */
    private Channel channel() throws Exception {
        if (connection == null) {
            connection = Driver.connection(true);
        }
        if (confirming == null || connection.isOpen() && !confirming.isOpen()) {
            confirming = connection.createChannel();
            confirming.confirmSelect();
        }
        return confirming;
    }

    Object load(JsonObject command) throws Exception {
        load = new Load(command);
        new Thread(load, "load").start();
        return Map.of();
    }

    Object stopLoad() throws Exception {
        return load.end();
    }

    void close() {
        if (connection != null) {
            connection.abort();
            connection = null;
            confirming = null;
        }
    }
}
