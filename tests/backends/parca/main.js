// What Parca's clients see of Parca: its gRPC service, with the message types that Parca's own web
// page is built with (@parca/client). Behind it are not its stores, but its checks of labels, in
// short. Each write that is good becomes a line of JSON on standard output: labels and the profile.
//
// Parca itself is not on the Go module proxy.
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import {
  ProfileStoreService,
  WriteRawRequest,
  WriteRawResponse,
} from "@parca/client/dist/parca/profilestore/v1alpha1/profilestore.js";

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

const writeRaw = ProfileStoreService.methods.find((method) => method.name === "WriteRaw");
const definition = {
  writeRaw: {
    path: `/${ProfileStoreService.typeName}/${writeRaw.name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(WriteRawRequest.toBinary(message)),
    requestDeserialize: (bytes) => WriteRawRequest.fromBinary(bytes),
    responseSerialize: (message) => Buffer.from(WriteRawResponse.toBinary(message)),
    responseDeserialize: (bytes) => WriteRawResponse.fromBinary(bytes),
  },
};

function labelsOf(series) {
  const labels = {};
  for (const { name, value } of series.labels.labels) {
    if (!LABEL_NAME.test(name)) throw new Error(`invalid label name: ${name}`);
    if (name in labels) throw new Error(`duplicate label name: ${name}`);
    labels[name] = value;
  }
  if (!labels.__name__) throw new Error("missing __name__ label");
  return labels;
}

const server = new Server();
server.addService(definition, {
  writeRaw(call, callback) {
    const lines = [];
    try {
      for (const series of call.request.series) {
        const Labels = labelsOf(series);
        for (const sample of series.samples) {
          const Profile = Buffer.from(sample.rawProfile).toString("base64");
          lines.push(JSON.stringify({ Labels, Profile, Normalized: call.request.normalized }));
        }
      }
    } catch (error) {
      callback({ code: status.INVALID_ARGUMENT, details: error.message });
      return;
    }
    for (const line of lines) console.log(line);
    callback(null, WriteRawResponse.create());
  },
});
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.error(`127.0.0.1:${port}`);
});
