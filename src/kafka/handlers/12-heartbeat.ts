import { heartbeat } from "../../wire/apis/heartbeat.ts";
import { serve } from "../handler.ts";

export const heartbeatHandler = serve(heartbeat, (request, { services }) => {
  const errorCode = services.groups.heartbeat(request.groupId, request, request.generationId);
  return { throttleTimeMs: 0, errorCode };
});
