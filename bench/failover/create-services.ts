/** Creates so many Services before the scene's pods, many at a time. Runs on the control host. Usage: node create-services.ts COUNT */
import { connect, createServices, serviceNames } from "../cluster-load.ts";

const client = connect();
await createServices(client, serviceNames(Number(process.argv[2])), "bench");
client.close();
