import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.ClientConfig;
import org.springframework.boot.Banner;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ApplicationContextInitializer;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;

/** Where the broker is, and the Spring Boot applications that are started for it. */
final class Endpoint {
    static volatile String address;
    /** Topics made by another client are seen after this time, not after the SDK's 30 s. */
    private static final int ROUTE_POLL_MS = 1_000;
    private static final int OFFSET_PERSIST_MS = 500;

    private Endpoint() { }

    /** What every application of this driver has. */
    @Configuration
    @EnableAutoConfiguration
    static class Application { }

    /** An application with these beans; closing it stops them. */
    static ConfigurableApplicationContext start(Map<String, Object> properties, ApplicationContextInitializer<?> before, Class<?>... beans) {
        if (address == null) {
            throw new IllegalStateException("connect first");
        }
        Map<String, Object> all = new HashMap<>(properties);
        all.put("rocketmq.name-server", address);
        all.put("logging.level.root", "warn");
        all.put("spring.jmx.enabled", false);
        all.put("spring.main.register-shutdown-hook", false);
        return new SpringApplicationBuilder(Application.class).sources(beans).initializers(before).properties(all)
            .web(WebApplicationType.NONE).bannerMode(Banner.Mode.OFF).logStartupInfo(false).run();
    }

    static void apply(ClientConfig client) {
        client.setPollNameServerInterval(ROUTE_POLL_MS);
        client.setPersistConsumerOffsetInterval(OFFSET_PERSIST_MS);
        // A busy machine must not fail what the broker does well.
        client.setMqClientApiTimeout(10_000);
        client.setDetectTimeout(10_000);
    }
}
