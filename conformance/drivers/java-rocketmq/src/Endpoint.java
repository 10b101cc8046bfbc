import com.google.gson.JsonObject;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.remoting.RPCHook;

/** Where the broker is, and the settings that every client object shares. */
final class Endpoint {
    static volatile String address;
    private static volatile RPCHook signing;
    private static volatile boolean tls;
    /** Topics made by another client are seen after this time, not after the SDK's 30 s. */
    private static final int ROUTE_POLL_MS = 1_000;
    private static final int OFFSET_PERSIST_MS = 500;

    private Endpoint() { }

    static void connect(JsonObject command) throws Exception {
        address = command.get("remoting").getAsString();
        signing = command.has("user") ? Version.signing(command.get("user").getAsString(), command.get("secret").getAsString()) : null;
        tls = command.has("tls");
    }

    /** What signs every request; null where nobody has logged in. */
    static RPCHook signing() {
        return signing;
    }

    static void apply(ClientConfig client) {
        if (address == null) {
            throw new IllegalStateException("connect first");
        }
        client.setNamesrvAddr(address);
        client.setUseTLS(tls);
        client.setPollNameServerInterval(ROUTE_POLL_MS);
        client.setPersistConsumerOffsetInterval(OFFSET_PERSIST_MS);
        // A busy machine must not fail what the broker does well.
        client.setMqClientApiTimeout(10_000);
        Version.apply(client);
    }
}
