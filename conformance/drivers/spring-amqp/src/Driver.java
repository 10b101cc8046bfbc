import com.google.gson.JsonObject;
import java.util.HashMap;
import java.util.Map;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

/** Drives Spring AMQP by JSON lines; ../README.md says which. Says what carries out each command. */
public class Driver {
    private static volatile String endpoint;

    public static void main(String[] args) throws Exception {
        Producing producing = new Producing();
        Consuming consuming = new Consuming();
        Map<String, Lines.Command> commands = new HashMap<>();
        commands.put("hello", command -> Map.of("sdk", "Spring AMQP", "version", version()));
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

    static CachingConnectionFactory connections(ConfirmType confirms) {
        String[] parts = endpoint.split(":");
        CachingConnectionFactory factory = new CachingConnectionFactory(parts[0], Integer.parseInt(parts[1]));
        factory.setPublisherConfirmType(confirms);
        return factory;
    }

    /** The file of the jar names it; its manifest does not. */
    private static String version() {
        String path = RabbitTemplate.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        return path.replaceAll(".*spring-rabbit-|\\.jar$", "");
    }
}
