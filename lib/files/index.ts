export { belongsTo } from "./containment.js";
