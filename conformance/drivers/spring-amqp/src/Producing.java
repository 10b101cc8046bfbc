import com.google.gson.JsonObject;
import java.util.List;
import java.util.Map;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

/** Declares by RabbitAdmin and publishes by RabbitTemplate, with confirms and without. */
final class Producing {
    private static final long CONFIRM_MS_MAX = 10_000;

    private CachingConnectionFactory confirming;
    private CachingConnectionFactory plain;
    private Load load;

    Object declare(JsonObject command) {
        AmqpMessage.checkTopic(command);
        new RabbitAdmin(plain()).declareQueue(new Queue(command.get("topic").getAsString(), true));
        return Map.of();
    }

    Object send(JsonObject command) {
        List<AmqpMessage> messages = AmqpMessage.of(command.getAsJsonArray("messages"));
        String topic = command.get("topic").getAsString();
        String mode = command.get("mode").getAsString();
        switch (mode) {
            case "sync" -> messages.forEach(message -> sendConfirmed(topic, List.of(message)));
            case "async" -> sendConfirmed(topic, messages);
            case "oneway" -> {
                RabbitTemplate template = new RabbitTemplate(plain());
                messages.forEach(message -> template.send("", topic, message(message)));
                return Map.of("receipts", List.of());
            }
            default -> throw new Lines.Unsupported("RabbitTemplate has no " + mode + " send; BatchingRabbitTemplate makes one message of many");
        }
        return Map.of("receipts", messages.stream().map(message -> Map.of()).toList());
    }

    private void sendConfirmed(String topic, List<AmqpMessage> messages) {
        if (confirming == null) {
            confirming = Driver.connections(ConfirmType.SIMPLE);
        }
        RabbitTemplate template = new RabbitTemplate(confirming);
        template.setMandatory(true);
        template.invoke(operations -> {
            messages.forEach(message -> operations.send("", topic, message(message)));
            operations.waitForConfirmsOrDie(CONFIRM_MS_MAX);
            return null;
        });
    }

    private static Message message(AmqpMessage wanted) {
        return MessageBuilder.withBody(wanted.body).copyHeaders(wanted.headers).setMessageId(wanted.key).build();
    }

    private CachingConnectionFactory plain() {
        if (plain == null) {
            plain = Driver.connections(ConfirmType.NONE);
        }
        return plain;
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
        if (confirming != null) {
            confirming.destroy();
            confirming = null;
        }
        if (plain != null) {
            plain.destroy();
            plain = null;
        }
    }
}
