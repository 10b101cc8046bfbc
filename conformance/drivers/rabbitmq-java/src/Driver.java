import com.google.gson.JsonObject;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.impl.ClientVersion;
import java.util.HashMap;
import java.util.Map;

/** Drives the RabbitMQ Java client by JSON lines; ../README.md says which. Says what carries out each command. */
public class Driver {
    private static final int CONNECT_MS_MAX = 10_000;
    private static final int RECOVERY_MS = 300;
    private static volatile String endpoint;

    public static void main(String[] args) throws Exception {
        Producing producing = new Producing();
        Consuming consuming = new Consuming();
        Map<String, Lines.Command> commands = new HashMap<>();
        commands.put("hello", command -> Map.of("sdk", "RabbitMQ Java client", "version", ClientVersion.VERSION));
        commands.put("connect", command -> {
            endpoint = command.get("amqp").getAsString();
            return Map.of();
        });
        commands.put("create_topic", producing::declare);
        commands.put("send", producing::send);
        commands.put("load", producing::load);
        commands.put("stop_load", command -> producing.stopLoad());
        commands.put("consume", consuming::start);
        commands.put("settle", consuming::settle);
        commands.put("stop", command -> consuming.stop(command.get("consumer").getAsString()));
        commands.put("drain", consuming::drain);
        commands.put("offsets", AmqpMessage::noOffsets);
        commands.put("seek_time", AmqpMessage::noOffsets);
        commands.put("reset", (JsonObject command) -> {
            producing.close();
            consuming.close();
            return Map.of();
        });
        Lines.serve(commands);
    }

    /** A connection that comes back by itself, with its channels and consumers, if that is wanted. */
    static Connection connection(boolean recovers) throws Exception {
        String[] parts = endpoint.split(":");
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(parts[0]);
        factory.setPort(Integer.parseInt(parts[1]));
        factory.setConnectionTimeout(CONNECT_MS_MAX);
        factory.setAutomaticRecoveryEnabled(recovers);
        factory.setNetworkRecoveryInterval(RECOVERY_MS);
        return factory.newConnection();
    }
}
